//! The registry: functions that another process can be told to run, by name.

use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, Termination};

use crate::error::{Error, Kind};
use crate::start::{Args, Start};

/// A registered function that takes a process over: what
/// [`#[entry]`](macro@crate::entry) makes of a function.
///
/// Give it to [`Process::run`](crate::Process::run). It still can be called
/// directly, in this process, like the function that it was.
pub struct Entry<R: 'static> {
    name: &'static str,
    function: fn(Start) -> R,
}

/// A registered function that runs in a process before it is forked or run: what
/// [`#[setup]`](macro@crate::setup) makes of a function.
///
/// Give it to [`Process::setup`](crate::Process::setup).
pub struct Setup<R: 'static> {
    name: &'static str,
    function: fn(Args) -> R,
}

macro_rules! handle {
    ($handle:ident, $argument:ty) => {
        impl<R: 'static> $handle<R> {
            #[doc(hidden)]
            pub const fn __new(name: &'static str, function: fn($argument) -> R) -> Self {
                Self { name, function }
            }

            /// The name under which it is registered.
            pub const fn name(&self) -> &'static str {
                self.name
            }
        }

        impl<R: 'static> Clone for $handle<R> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<R: 'static> Copy for $handle<R> {}

        impl<R: 'static> Deref for $handle<R> {
            type Target = fn($argument) -> R;

            fn deref(&self) -> &Self::Target {
                &self.function
            }
        }

        impl<R: 'static> fmt::Debug for $handle<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($handle)).field(&self.name).finish()
            }
        }

        impl<R: 'static> From<$handle<R>> for &'static str {
            fn from(handle: $handle<R>) -> &'static str {
                handle.name
            }
        }
    };
}

handle!(Entry, Start);
handle!(Setup, Args);

/// What a setup function may return: nothing, or a result whose error can be shown.
pub trait SetupResult {
    #[doc(hidden)]
    fn into_message(self) -> Result<(), String>;
}

impl SetupResult for () {
    fn into_message(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> SetupResult for Result<(), E> {
    fn into_message(self) -> Result<(), String> {
        self.map_err(|e| e.to_string())
    }
}

/// An element of the registry. Only the macros make them.
#[derive(Debug)]
pub struct Registered {
    /// Module path and name of the function, or the name that was given to it.
    pub name: &'static str,
    /// What can be done with it.
    pub kind: Registration,
}

/// A setup function behind its handle: its error is the message of whatever it returned.
pub(crate) type SetupFn = fn(Args) -> Result<(), String>;

/// What the registry holds.
#[derive(Debug)]
pub enum Registration {
    /// Takes a process over; returns its exit status.
    Entry(fn(Start) -> u8),
    /// Prepares a process.
    Setup(SetupFn),
    /// Takes a process over, and is called by RPC.
    Worker(fn(Start) -> u8),
}

/// All entries, workers and setup functions that are linked into this program. The crate's
/// name and major version are in the slice's name because the linker knows it by
/// nothing else.
#[linkme::distributed_slice]
pub static OFFSHOOT_0_REGISTRY: [Registered];

impl Registration {
    /// What a process can be told to run.
    fn runnable(&self) -> Option<fn(Start) -> u8> {
        match self {
            Registration::Entry(run) | Registration::Worker(run) => Some(*run),
            Registration::Setup(_) => None,
        }
    }
}

fn known<F>(
    of_kind: impl Fn(&Registration) -> Option<F>,
) -> impl Iterator<Item = (&'static str, F)> {
    OFFSHOOT_0_REGISTRY.iter().filter_map(move |r| Some((r.name, of_kind(&r.kind)?)))
}

fn named<F>(name: &[u8], of_kind: impl Fn(&Registration) -> Option<F>) -> Option<F> {
    known(of_kind).find(|(known, _)| known.as_bytes() == name).map(|(_, function)| function)
}

fn find<F>(
    what: &'static str,
    name: &[u8],
    of_kind: impl Fn(&Registration) -> Option<F>,
) -> Result<F, Error> {
    named(name, &of_kind).ok_or_else(|| {
        let name = String::from_utf8_lossy(name).into_owned();
        let nearest = nearest(&name, known(of_kind).map(|(known, _)| known));
        Kind::Unknown { what, name, nearest }.into()
    })
}

#[inline]
pub(crate) fn find_entry(name: &[u8]) -> Result<fn(Start) -> u8, Error> {
    let found = find("entry", name, |kind| match kind {
        Registration::Entry(run) => Some(*run),
        _ => None,
    });
    if found.is_err() && find_runnable(name).is_ok() {
        return Err(Kind::Worker(String::from_utf8_lossy(name).into_owned()).into());
    }
    found
}

/// An entry or a worker.
pub(crate) fn find_runnable(name: &[u8]) -> Result<fn(Start) -> u8, Error> {
    find("entry or worker", name, Registration::runnable)
}

/// As `find_runnable`, and nothing is allocated.
pub(crate) fn look_up_runnable(name: &[u8]) -> Option<fn(Start) -> u8> {
    named(name, Registration::runnable)
}

pub(crate) fn find_setup(name: &[u8]) -> Result<SetupFn, Error> {
    find("setup function", name, |kind| match kind {
        Registration::Setup(run) => Some(*run),
        _ => None,
    })
}

pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = OFFSHOOT_0_REGISTRY.iter().map(|r| r.name).collect();
    names.sort_unstable();
    names
}

/// A name that two functions are registered under, both to be run or both for setup.
#[inline]
pub(crate) fn duplicate() -> Option<&'static str> {
    // In each program's start: most have none that could be.
    if OFFSHOOT_0_REGISTRY.len() < 2 { None } else { sorted_duplicate() }
}

#[cold]
fn sorted_duplicate() -> Option<&'static str> {
    let mut names: Vec<_> =
        OFFSHOOT_0_REGISTRY.iter().map(|r| (r.kind.runnable().is_some(), r.name)).collect();
    names.sort_unstable();
    names.windows(2).find(|w| w[0] == w[1]).map(|w| w[0].1)
}

/// Up to three names that somebody who wrote `name` may have meant, nearest first.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Vec<String> {
    let last = |path: &str| path.rsplit("::").next().unwrap_or_default().to_owned();
    let mut scored: Vec<_> = known
        .map(|k| {
            let by_end = distance(&last(name), &last(k));
            (by_end.min(distance(name, k)), distance(name, k), k.to_owned())
        })
        .collect();
    scored.sort();
    scored.into_iter().take(3).map(|(_, _, name)| name).collect()
}

/// Edit distance (Levenshtein), by rows.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Turns what a function returned into an exit status, reporting an error on
/// stderr as `main` would.
pub fn exit_status(result: impl Termination) -> u8 {
    let code = result.report();
    // std gives no other way back from an ExitCode to its number.
    (0..=u8::MAX).find(|n| ExitCode::from(*n) == code).unwrap_or(1)
}

/// Runs an entry to the end of this process. A panic ends it with status 101, as
/// it ends a program; its message is on stderr already.
#[inline]
pub(crate) fn run(entry: fn(Start) -> u8, start: Start) -> ! {
    let status = catch_unwind(AssertUnwindSafe(|| entry(start))).unwrap_or(101);
    crate::sys::fork::exit_as_program(status)
}

/// Runs a setup function; its error or panic message is the error.
pub(crate) fn run_setup(setup: SetupFn, args: Args) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| setup(args))).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Err(match text {
            Some(text) => format!("it panicked: {text}"),
            None => "it panicked".to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_edit_distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn nearest_names_look_at_the_last_segment_too() {
        let known = ["app::images::thumbnail", "app::serve", "other::crunch"];
        let found = nearest("thumbnial", known.into_iter());
        assert_eq!(found[0], "app::images::thumbnail");
    }

    #[test]
    fn exit_codes_survive() {
        assert_eq!(exit_status(ExitCode::from(42)), 42);
        assert_eq!(exit_status(()), 0);
        assert_eq!(exit_status(Err::<(), _>("no")), 1);
    }
}
