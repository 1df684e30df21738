//! The one error type: opaque, answered by questions, its source kept.

use std::fmt;
use std::io;

use crate::wire::{Failure, Stage};

mod call;

pub(crate) use call::{Ended, Fault};

/// What went wrong in this library. Ask with the `is_…` methods; the text says
/// what to do about it.
///
/// An error that comes from the system keeps its number
/// ([`raw_os_error`](Error::raw_os_error)), also where the call failed in another
/// process.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error {
    kind: Box<Kind>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error("no {what} is registered as `{name}`{}", Nearest(nearest))]
    Unknown { what: &'static str, name: String, nearest: Vec<String> },
    #[error("`{0}` is a worker, and no entry: start it by `Process::rpc`")]
    Worker(String),
    #[error("{0}")]
    Remote(Failure),
    #[error("the template process is gone: {0}")]
    TemplateGone(&'static str),
    #[error("how the process ended is not known: its template died before it could tell")]
    StatusLost,
    #[error("{count} file descriptors are more than the {max} that one process can be sent")]
    TooManyFds { count: usize, max: usize },
    #[error(
        "{size} bytes of arguments and settings are more than the {max} that one process can be sent"
    )]
    TooLarge { size: u64, max: u64 },
    #[error(
        "{0} bytes of arguments and settings are more than can be sent while this program may not have files of that size (RLIMIT_FSIZE, as by LimitFSIZE= of a service): raise that limit, or send them by the stream"
    )]
    FileLimit(usize),
    #[error("{0}")]
    Argument(String),
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
    #[error(
        "this process has {0} threads, and only a process with one can be forked: take the snapshot before starting any"
    )]
    Threaded(usize),
    #[error("{0}")]
    Unsupported(&'static str),
    #[error("{0}")]
    Denied(String),
    #[error("the other end of the control socket does not keep to the protocol: {0}")]
    Protocol(&'static str),
    #[error(
        "this handle belongs to process {0}, which is still running: after a fork of the program, make new processes with Process::new"
    )]
    NotOwner(i32),
    #[error(
        "this handle was in use by a thread of the process that this one was forked from, just then, and that thread is not here: make a new one"
    )]
    LeftLocked,
    #[error("the process has ended already")]
    Ended,
    #[error("{0}")]
    Call(Fault),
}

struct Nearest<'a>(&'a [String]);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("; nothing of that kind is registered in this program (is the crate that does so named in its source?)"),
            names => write!(f, "; did you mean `{}`?", names.join("` or `")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { message, .. } = self;
        match self.stage {
            Stage::Fork => write!(f, "the template could not fork: {message}"),
            Stage::Threads => f.write_str(message),
            Stage::Protocol => write!(f, "the template refused the request: {message}"),
            Stage::Denied => f.write_str(message),
            Stage::Setup => write!(f, "a setup function failed: {message}"),
            Stage::Config => write!(f, "the new process could not be configured: {message}"),
            Stage::Entry => f.write_str(message),
            Stage::Exec => write!(f, "the program could not be executed: {message}"),
        }?;
        match self.errno {
            0 => Ok(()),
            errno => write!(f, ": {}", io::Error::from_raw_os_error(errno)),
        }
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Error {
        Error { kind: Box::new(kind) }
    }
}

impl Error {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Kind::System { what, source }.into()
    }

    /// A process was never made, or never ran what it was to run.
    pub(crate) fn is_unmade(&self) -> bool {
        self.stage().is_some()
    }

    fn stage(&self) -> Option<Stage> {
        match &*self.kind {
            Kind::Remote(failure) => Some(failure.stage),
            _ => None,
        }
    }

    /// A name is not in the registry; the text lists the nearest names.
    pub fn is_unknown_name(&self) -> bool {
        matches!(*self.kind, Kind::Unknown { .. } | Kind::Worker(_))
            || self.stage() == Some(Stage::Entry)
    }

    /// A setup function returned an error or panicked; the text is its message.
    pub fn is_setup(&self) -> bool {
        self.stage() == Some(Stage::Setup)
    }

    /// A configuration step (directory, limit, user, …) failed in the new process.
    pub fn is_config(&self) -> bool {
        self.stage() == Some(Stage::Config)
    }

    /// The program given to [`exec`](crate::Process::exec) could not be executed.
    pub fn is_exec(&self) -> bool {
        self.stage() == Some(Stage::Exec)
    }

    /// The template that should have made or reported the process has died, so
    /// there is no new process, or no status of the one that there was. Of a call: its
    /// worker process has ended, or closed its connection;
    /// [`exit_status`](Error::exit_status) tells how.
    pub fn is_disconnected(&self) -> bool {
        matches!(*self.kind, Kind::TemplateGone(_) | Kind::StatusLost) || self.is_worker_gone()
    }

    /// Somebody ran out of something: processes, descriptors, memory, room in a
    /// message. The same call works once there is room.
    pub fn is_resource(&self) -> bool {
        matches!(*self.kind, Kind::TooManyFds { .. } | Kind::TooLarge { .. } | Kind::FileLimit(_))
            || self.is_worker_room()
            || self.raw_os_error().is_some_and(is_shortage)
    }

    /// More descriptors were queued than one process can be sent.
    pub fn is_too_many_fds(&self) -> bool {
        matches!(*self.kind, Kind::TooManyFds { .. })
    }

    /// A process with several threads was to be forked.
    pub fn is_threaded(&self) -> bool {
        matches!(*self.kind, Kind::Threaded(_)) || self.stage() == Some(Stage::Threads)
    }

    /// The request would have made a process that is more privileged than the
    /// program that asks for it.
    pub fn is_denied(&self) -> bool {
        matches!(*self.kind, Kind::Denied(_)) || self.stage() == Some(Stage::Denied)
    }

    /// What was asked for cannot be had in this program or on this kernel.
    pub fn is_unsupported(&self) -> bool {
        matches!(*self.kind, Kind::Unsupported(_))
    }

    /// The other end of a control socket sent, or refused, what is not in the
    /// protocol.
    pub fn is_protocol(&self) -> bool {
        matches!(*self.kind, Kind::Protocol(_))
            || self.stage() == Some(Stage::Protocol)
            || self.is_worker_protocol()
    }

    /// The process that a signal was meant for has ended.
    pub fn is_ended(&self) -> bool {
        matches!(*self.kind, Kind::Ended)
    }

    /// The handle was made by the process that this one was forked from, and that
    /// one still uses it; or a thread of that one was in the midst of using it when
    /// it was forked, so that nobody can use it here.
    pub fn is_not_owner(&self) -> bool {
        matches!(*self.kind, Kind::NotOwner(_) | Kind::LeftLocked)
    }

    /// The number of the system's error, if it was one, here or in the other
    /// process.
    pub fn raw_os_error(&self) -> Option<i32> {
        match &*self.kind {
            Kind::System { source, .. } => source.raw_os_error(),
            Kind::FileLimit(_) => Some(libc::EFBIG),
            Kind::Remote(failure) => Some(failure.errno).filter(|e| *e != 0),
            Kind::Call(fault) => fault.errno(),
            _ => None,
        }
    }
}

/// Whether the same can be had later, if a system call failed with this number.
pub(crate) fn is_shortage(errno: i32) -> bool {
    use libc::{EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ETOOMANYREFS};
    [EAGAIN, EMFILE, ENFILE, ENOMEM, ETOOMANYREFS, ENOBUFS].contains(&errno)
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = error
            .raw_os_error()
            .map_or(io::ErrorKind::Other, |n| io::Error::from_raw_os_error(n).kind());
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_keeps_the_kind_and_what_it_was_made_of() {
        let remote = Failure::new(Stage::Config, libc::ENOENT, "working directory");
        let source = io::Error::from_raw_os_error(libc::EMFILE);
        let kind_of_emfile = source.kind();
        for (kind, expected) in [
            (Kind::Remote(remote), io::ErrorKind::NotFound),
            (Kind::System { what: "copying", source }, kind_of_emfile),
            (Kind::Ended, io::ErrorKind::Other),
        ] {
            let error = Error::from(kind);
            let (text, errno, ended) = (error.to_string(), error.raw_os_error(), error.is_ended());
            let general = io::Error::from(error);
            assert_eq!(general.kind(), expected);
            assert_eq!(general.to_string(), text);
            let own: Error = general.downcast().unwrap();
            assert_eq!((own.raw_os_error(), own.is_ended()), (errno, ended));
        }
    }
}
