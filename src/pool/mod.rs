//! Pools: typed calls over worker processes that come and go.
//!
//! The road of a call: `handle.rs` (the program's handle) -> `errand.rs` (one job) ->
//! `core.rs`, `state.rs` (the one lock, what is under it) -> `scheduler.rs` (which worker,
//! or none yet: pure) -> `carry.rs` (does what was decided) -> `member.rs` (one worker) ->
//! its connection, in `rpc`, and back to `errand.rs`.

mod attend;
mod builder;
mod carry;
mod complaints;
mod core;
mod errand;
#[cfg(feature = "testing")]
mod faults;
mod flow;
mod handle;
mod hung;
mod life;
mod map;
mod member;
mod ncpu;
mod observe;
mod outcome;
mod owner;
mod request;
mod room;
mod scheduler;
mod state;
mod stats;
mod tail;
mod workers;

pub use builder::PoolBuilder;
#[cfg(feature = "testing")]
pub(crate) use faults::Inmates;
pub use handle::Pool;
pub use map::{Indexed, Map, MapStream, MapUnordered};
pub use ncpu::{ncores, ncpu};
pub use request::Request;
#[doc(hidden)]
pub use scheduler::schedule_cost;
pub use stats::{Failures, Stats, Times};

/// Asks the pool that this process is a worker of not to send it more calls: it ends once
/// it has done those that it has. From any thread, at any time; a call that runs is not
/// touched. Whether this process is a worker of a pool; elsewhere nothing happens.
///
/// For a worker that finds that it has leaked, or that what it has loaded has changed.
///
/// (`AnyEvent::Fork::Pool::retire`.)
pub fn retire() -> bool {
    crate::rpc::pooled::retire()
}
