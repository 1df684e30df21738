//! What this library found and decided in this program.

use std::fmt;

use crate::hook::{self, OptIn};
use crate::sys::{collapse, fds, pidfd};
use crate::{entry, home};

/// How new processes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Road {
    /// Forked from an early template that was caught at the top of `main`.
    MainCaught,
    /// Forked from an early template that serves from the constructor.
    HookServed,
    /// Forked from a template that is made by executing the program's own file.
    ReExec,
    /// Not at all: the library is in a shared object, not in the program; or there is
    /// no early template, and the program is set-user-ID, so that it cannot be executed
    /// again.
    None,
}

/// A report on this program and kernel; see [`doctor`]. Printed, it is a few lines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Doctor {
    /// How new processes are made.
    pub road: Road,
    /// Why it is that road.
    pub reason: String,
    /// How many threads ran when the constructor did (0: it did not run as such).
    pub threads_at_hook: usize,
    /// pidfd_open(2) works.
    pub pidfd: bool,
    /// madvise(2) knows MADV_COLLAPSE.
    pub madv_collapse: bool,
    /// close_range(2) works.
    pub close_range: bool,
    /// The names of all registered entries, workers and setup functions, sorted.
    pub entries: Vec<&'static str>,
}

/// Looks at how this program makes its processes, and why; for bug reports, and for
/// those who wonder why it is slow.
///
/// `OFFSHOOT_LOG=1` in the environment prints the constructor's decisions as they are
/// made; `OFFSHOOT_EARLY=0` switches the early template off.
pub fn doctor() -> Doctor {
    let (road, reason) = road();
    Doctor {
        road,
        reason,
        threads_at_hook: hook::report().map_or(0, |r| r.threads),
        pidfd: pidfd::available(),
        madv_collapse: collapse::available(),
        close_range: fds::has_close_range(),
        entries: entry::names(),
    }
}

fn road() -> (Road, String) {
    let (road, reason) = road_if_usable();
    let usable = match road {
        Road::ReExec => hook::check_reexecutable(),
        _ => hook::check_usable(),
    };
    usable.map_or_else(|error| (Road::None, error.to_string()), |()| (road, reason))
}

fn road_if_usable() -> (Road, String) {
    let Some(report) = hook::report() else {
        return (Road::ReExec, "this process is a worker, and was not started as a program".into());
    };
    let early = hook::early_waits() || home::current().is_ok_and(|h| h.has_early());
    match (report.opt_in, report.declined) {
        (None, _) => {
            let how = "the program has neither #[offshoot::main] nor offshoot::early!()";
            (Road::ReExec, how.into())
        }
        (_, Some(why)) => (Road::ReExec, why.into()),
        _ if !early => {
            (Road::ReExec, "the early template has died, or is another process's".into())
        }
        (Some(OptIn::Main), None) => (Road::MainCaught, "#[offshoot::main]".into()),
        (Some(OptIn::Early), None) => (Road::HookServed, "offshoot::early!()".into()),
    }
}

impl fmt::Display for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let road = match self.road {
            Road::MainCaught => "early template, caught at the top of main",
            Road::HookServed => "early template, serving from the constructor",
            Road::ReExec => "template made by executing the program's own file",
            Road::None => "none",
        };
        let known = |yes| if yes { "yes" } else { "no" };
        writeln!(f, "processes:   {road}")?;
        writeln!(f, "because:     {}", self.reason)?;
        writeln!(f, "threads when the hook ran: {}", self.threads_at_hook)?;
        writeln!(
            f,
            "kernel:      pidfd {}, MADV_COLLAPSE {}, close_range {}",
            known(self.pidfd),
            known(self.madv_collapse),
            known(self.close_range)
        )?;
        writeln!(
            f,
            "note:        a re-executed template is a child of this process: a loop on wait(-1) until ECHILD would wait for it; an early one is not"
        )?;
        write!(f, "registered:  {}", self.entries.len())?;
        self.entries.iter().try_for_each(|name| write!(f, "\n  {name}"))
    }
}
