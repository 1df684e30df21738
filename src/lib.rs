//! New processes from a small template that was forked before `main`.
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
mod home;
mod hook;
mod hub;
mod launch;
mod lead;
mod link;
mod privilege;
mod process;
mod queue;
mod slot;
mod start;
mod sync;
mod sys;
mod template;
mod tether;
mod wire;

pub use child::{Child, Exited, Usage};
pub use config::Resource;
pub use doctor::{Doctor, Road, doctor};
pub use entry::{Entry, Setup, SetupResult};
pub use error::Error;
pub use offshoot_macros::{entry, main, setup};
pub use privilege::privileged;
pub use process::Process;
pub use start::{Args, RunArgs, Start, run_args};

/// For the code that this crate's macros emit, and only for that.
#[doc(hidden)]
pub mod __private_0_1 {
    pub use crate::entry::{
        Entry, OFFSHOOT_0_REGISTRY as REGISTRY, Registered, Registration, Setup, SetupResult,
        exit_status,
    };
    pub use crate::hook::{OFFSHOOT_0_OPT_IN as OPT_IN, OptIn, at_main};
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
            static OFFSHOOT_OPT_IN: $crate::__private_0_1::OptIn =
                $crate::__private_0_1::OptIn::Early;
        };
    };
}
