//! RPC: calling functions in another process, typed, with events.
//!
//! The road of a call: `handle.rs` (parent's handle) -> `frame.rs` (encoded) -> `conn.rs` ->
//! `outbox.rs` -> the stream -> `inbox.rs` -> `session.rs` -> `serve_sync.rs` (or, by
//! `intake.rs`, `serve_done.rs` or `serve_async.rs`) -> the function -> `output.rs` -> the
//! stream -> `conn/flow.rs` -> `call.rs`.

mod builder;
mod call;
mod codec;
mod conn;
mod context;
mod done;
mod fd;
mod frame;
mod fuzz;
mod handle;
mod handlers;
mod inbox;
mod intake;
mod logs;
mod octets;
mod outbox;
mod output;
mod panics;
mod parcels;
mod refusal;
mod retire;
#[cfg(feature = "tokio")]
mod serve_async;
mod serve_done;
mod serve_sync;
mod session;
mod spin;
mod terms;
#[cfg(test)]
mod tests;
mod worker;

pub use builder::RpcBuilder;
pub use call::Call;
#[cfg(feature = "json")]
pub use codec::Json;
#[cfg(feature = "messagepack")]
pub use codec::MessagePack;
pub use codec::{Body, Codec, CodecError, Postcard, Sink};
pub use context::Context;
pub use done::Done;
pub use fd::Fd;
pub use handle::{Refused, Rpc, spawn};
pub use octets::Octets;
pub use worker::Worker;

/// For pools.
pub(crate) mod pooled {
    pub(crate) use super::call::{Complete, OnResult, Pooled, Slot, decoded};
    pub(crate) use super::codec::{Body, CodecError};
    pub(crate) use super::conn::is_in_callback_of;
    pub(crate) use super::conn::{Conn, Inside, LOOKS_AGAIN, Look, Ticket, Time};
    pub(crate) use super::frame::{Frame, Kind, MAX_BODY};
    pub(crate) use super::handle::no_frame;
    pub(crate) use super::handlers::{OnDestroy, OnError, OnEvent, Overseer, Set, quietly};
    pub(crate) use super::retire::retire;
    pub(crate) use super::terms::{Launcher, Terms};
    pub(crate) use super::worker::{Speech, Style};
}

/// For the code that `#[worker]` emits.
pub(crate) mod emitted {
    pub use super::fuzz::fuzz_inbox;
    #[cfg(feature = "tokio")]
    pub use super::serve_async::serve_async;
    pub use super::serve_done::serve_done;
    pub use super::serve_sync::serve_sync;
    #[cfg(feature = "tokio")]
    pub use super::worker::CalledAsync;
    pub use super::worker::{
        Called, CalledDone, CalledSync, Initial, Speech, Style, initial, nothing, speeches,
    };
}
