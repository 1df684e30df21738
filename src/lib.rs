//! New processes from a small template that was forked before `main`: isolated, from any
//! thread, in a fraction of a millisecond however large the program is, with exactly the
//! descriptors and strings that you hand over.
//!
//! A threaded program cannot safely fork. A big one forks slowly, and drags its memory
//! along. Executing a binary takes longer, and needs the binary to be there still. So
//! crash isolation, privilege separation, leaky C libraries, pre-forked servers and CPU
//! pools are awkward exactly where they are wanted most. This crate forks a *template* of
//! the program before `main` runs, while it is small and has one thread. From then on any
//! thread has new processes forked from that, however large the program has grown.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use offshoot::{Process, Start};
//!
//! #[offshoot::entry]
//! fn greet(mut start: Start) -> std::io::Result<()> {
//!     let name = String::from_utf8_lossy(&start.args[0]).into_owned();
//!     write!(start.stream, "hello, {name}, from process {}", std::process::id())
//! }
//!
//! #[offshoot::main]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let child = Process::new()?.send_arg("world").run(greet)?;
//!     let mut said = String::new();
//!     child.stream().read_to_string(&mut said)?;
//!     println!("{said}; it ended with {}", child.wait()?);
//!     Ok(())
//! }
//! ```
//!
//! # Calls
//!
//! Most programs need no socket of their own, but a function that runs in another process:
//!
//! ```no_run
//! use offshoot::{Context, Process};
//!
//! #[offshoot::worker]
//! fn checksum(cx: &Context<u64>, path: std::path::PathBuf) -> Result<u64, String> {
//!     let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
//!     cx.event(&(bytes.len() as u64));
//!     Ok(bytes.iter().map(|b| u64::from(*b)).sum())
//! }
//!
//! #[offshoot::main]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // One process, one call.
//!     println!("{:?}", offshoot::spawn(checksum, "Cargo.toml".into())?.wait()?);
//!
//!     // One process, many calls, some on their way at once.
//!     let rpc = Process::new()?.rpc(checksum).on_event(|n| println!("read {n} bytes")).start()?;
//!     let calls: Vec<_> =
//!         ["Cargo.toml", "Cargo.lock"].map(|path| rpc.call(path.into())).into_iter().collect();
//!     for call in calls {
//!         println!("{:?}", call.wait()?);
//!     }
//!     rpc.finish()?;
//!     Ok(())
//! }
//! ```
//!
//! See [`worker`](macro@worker) for what such a function may look like, [`RpcBuilder`] for
//! what a worker can be started with, and [`Call`] for the ways to get a result.
//!
//! For many calls over several processes there is a [`Pool`], which starts, recycles and
//! replaces them.
//!
//! # What it is not
//!
//! - Not a sandbox. It gives a process of its own, with limits and another user if you
//!   say so; what such a process may do is up to the system.
//! - Not for running other programs in the first place, though it does that well
//!   ([`Process::exec`]).
//! - Not RPC between machines, or between programs: both sides are one binary.
//! - Not portable: it is Linux, with glibc or musl, dynamic or static.
//!
//! # The words
//!
//! A [`Process`] is the parent's handle of a process that still takes commands; one that
//! is kept to be forked is a *template* (elsewhere: zygote, fork server). It is prepared
//! with strings, descriptors, [configuration](Process#configuration) and
//! [setup functions](macro@setup), [forked](Process::fork) any number of times, and at last
//! [told to run](Process::run) an [entry](macro@entry), which makes it a [`Child`]: that has
//! the *stream*, a socket to the entry, and tells how it ends.
//!
//! # Chapters
//!
//! - [Fork safety](_docs::fork_safety): what is copied and shared, and what to mind in setup
//!   functions and entries; programs that fork by themselves; lifetimes.
//! - [Life before main](_docs::life_before_main): the three roads, and their differences.
//! - [Pools](_docs::pools): recipes for their options.
//! - [Privileges](_docs::privileges): programs that give them up.
//! - [Choosing a synchronous or an asynchronous worker](_docs::choosing_a_backend).
//! - [Passing descriptors in calls](_docs::passing_fds): how, whose they are, what can go
//!   wrong.
//!
//! # Blocking
//!
//! Making a process never waits for it. (`run` waits for setup functions, once, where there
//! are any.) What is not known yet is waited for by the call that asks for it:
//! [`Child::id`], [`Child::wait`]. The end of a process can also be awaited on any runtime
//! ([`Child::exited`]) or received ([`Child::exited_receiver`]); only then is there one
//! background thread. A program that only blocks has none.
//!
//! # Source of the semantics
//!
//! Perl's `AnyEvent::Fork`, with its `Early` and `Template` modules, `AnyEvent::Fork::RPC`
//! and `AnyEvent::Fork::Pool`; the methods name their models there.
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "offshoot forks, passes descriptors and watches processes as Linux does: it builds for Linux only"
);

// In the order of a request's road: parent's handle, protocol, template, entry, status.
mod child;
mod config;
mod doctor;
mod entry;
mod error;
mod exited;
mod home;
mod hook;
mod hub;
mod launch;
mod lead;
mod left;
mod link;
mod make;
mod owner;
pub mod pool;
mod privilege;
mod process;
mod queue;
mod room;
mod rpc;
mod slot;
mod start;
mod sync;
mod sys;
mod template;
#[cfg(feature = "testing")]
pub mod testing;
mod tether;
mod wire;

pub use child::{Child, Usage};
pub use config::Resource;
pub use doctor::{Doctor, Road, doctor};
pub use entry::{Entry, Setup, SetupResult};
pub use error::Error;
pub use exited::Exited;
pub use offshoot_macros::{entry, main, setup, worker};
pub use pool::Pool;
pub use privilege::privileged;
pub use process::Process;
#[cfg(feature = "json")]
pub use rpc::Json;
#[cfg(feature = "messagepack")]
pub use rpc::MessagePack;
pub use rpc::{
    Body, Call, Codec, CodecError, Context, Done, Fd, Octets, Postcard, Refused, Rpc, RpcBuilder,
    Sink, Worker, spawn,
};
pub use start::{Args, RunArgs, Start, run_args};

/// For the code that this crate's macros emit, and only for that.
#[doc(hidden)]
pub mod __private_0_1 {
    pub use crate::entry::{
        Entry, OFFSHOOT_0_REGISTRY as REGISTRY, Registered, Registration, Setup, SetupResult,
        exit_status,
    };
    pub use crate::hook::{OFFSHOOT_0_OPT_IN as OPT_IN, OptIn, at_main};
    pub use crate::pool::schedule_cost;
    pub use crate::rpc::emitted::*;
    pub use linkme;
}

/// Opts in where `main` is generated: in test harnesses and benches, at item level.
/// The template is forked before `main` and serves from the constructor.
///
/// In a program with a `main` of its own use [`#[offshoot::main]`](macro@main): its
/// workers have been through the whole of Rust's start-up. Differences are listed in
/// the chapter on life before main.
#[macro_export]
macro_rules! early {
    () => {
        const _: () = {
            #[$crate::__private_0_1::linkme::distributed_slice($crate::__private_0_1::OPT_IN)]
            #[linkme(crate = $crate::__private_0_1::linkme)]
            static OFFSHOOT_OPT_IN: ::core::option::Option<$crate::__private_0_1::OptIn> =
                ::core::option::Option::Some($crate::__private_0_1::OptIn::Early);
        };
    };
}

/// Chapters.
pub mod _docs {
    #[doc = include_str!("../docs/choosing-sync-or-async.md")]
    pub mod choosing_a_backend {}
    #[doc = include_str!("../docs/fork-safety.md")]
    pub mod fork_safety {}
    #[doc = include_str!("../docs/from-perl.md")]
    pub mod from_perl {}
    #[doc = include_str!("../docs/life-before-main.md")]
    pub mod life_before_main {}
    #[doc = include_str!("../docs/passing-fds.md")]
    pub mod passing_fds {}
    #[doc = include_str!("../docs/pools.md")]
    pub mod pools {}
    #[doc = include_str!("../docs/privileges.md")]
    pub mod privileges {}
}
