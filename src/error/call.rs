//! What can go wrong with a call of a worker.

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;

use super::{Error, Kind};

/// Told to every call that it concerns, so it can be cloned.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the worker panicked at {location}: {message}")]
    Panic { message: Arc<str>, location: Arc<str> },
    #[error("{0}")]
    Ended(Ended),
    #[error("the call took longer than it may")]
    Timeout,
    #[error("the call was cancelled")]
    Cancelled,
    #[error("as many calls as may be open at a time are: wait for one of them")]
    Full,
    #[error("{what} could not be written or read: {why}")]
    Codec { what: &'static str, why: Arc<str> },
    #[error("{what} of {size} bytes is larger than the {max} that are allowed")]
    TooLarge { what: &'static str, size: u64, max: u32 },
    #[error("the worker has no room for the descriptors of the call")]
    NoRoomForFds,
    #[error("no room for the descriptors that came from the worker")]
    NoRoomForFdsHere,
    #[error(
        "too many descriptors of this user have been sent and not received, by whatever process: \
         {what} could not be sent"
    )]
    FdsRefused { what: &'static str },
    #[error("the worker could not be initialised: {0}")]
    Init(Arc<str>),
    #[error("the worker dropped the call's `Done` without completing it")]
    Unanswered,
    #[error(
        "this would wait for ever: it is called by a callback of the very `Rpc`, or pool, that it \
         waits for, or by one that the thread runs that reads for it"
    )]
    WouldDeadlock,
    #[error("a worker sent an event, and there is no `on_event` for it")]
    EventUnhandled,
    #[error("the worker does not keep to the protocol: {0}")]
    Protocol(&'static str),
    #[error("the call's result was taken already")]
    Taken,
    #[error("the pool takes no more calls: it was finished, or killed")]
    PoolEnded,
    #[error("the pool has no worker, and none can be made at present: {why}")]
    NoWorker { why: Arc<str>, errno: Option<i32> },
    #[error(
        "the pool is broken: workers died before they were ready, {failures} in a row; the last \
         one: {why}; `reload` begins anew"
    )]
    PoolBroken { failures: u32, why: Arc<str>, init: bool },
}

/// How a worker process ended, as far as that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    /// Whether the call had been started, where that can be told.
    pub(crate) started: Option<bool>,
    pub(crate) status: Option<ExitStatus>,
    pub(crate) peak_memory: Option<u64>,
    /// Why this library ended it, if it did.
    pub(crate) because: Option<&'static str>,
    /// Why it never ran.
    pub(crate) unmade: Option<Arc<str>>,
    /// The number of the system's error, if that is why.
    pub(crate) errno: Option<i32>,
    /// The end of what it wrote to standard error, if that was kept.
    pub(crate) said: Option<Arc<str>>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.unmade, self.status) {
            (Some(why), _) => write!(f, "the worker process did not come to be: {why}")?,
            (None, Some(status)) => write!(f, "the worker process has ended: {status}")?,
            (None, None) => f.write_str("the worker has closed its connection")?,
        }
        if let Some(why) = self.because {
            write!(f, " (it was killed: {why})")?;
        }
        match self.started {
            Some(false) => f.write_str("; the call was not started")?,
            Some(true) => f.write_str("; the call was running")?,
            None => {}
        }
        match self.said.as_deref().and_then(|said| said.lines().last()) {
            Some(line) => write!(f, "; it said last: {line}"),
            None => Ok(()),
        }
    }
}

impl Fault {
    /// The number of the system's error, if it was one.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Fault::Ended(ended) => ended.errno,
            Fault::NoWorker { errno, .. } => *errno,
            _ => None,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        Kind::Call(fault).into()
    }
}

impl Error {
    pub(crate) fn fault(&self) -> Option<&Fault> {
        match &*self.kind {
            Kind::Call(fault) => Some(fault),
            _ => None,
        }
    }

    pub(crate) fn into_fault(self) -> Option<Fault> {
        match *self.kind {
            Kind::Call(fault) => Some(fault),
            _ => None,
        }
    }

    fn ended(&self) -> Option<&Ended> {
        match self.fault() {
            Some(Fault::Ended(ended)) => Some(ended),
            _ => None,
        }
    }

    /// The worker function panicked; see [`panic_message`](Error::panic_message).
    pub fn is_panic(&self) -> bool {
        matches!(self.fault(), Some(Fault::Panic { .. }))
    }

    /// With what message the worker panicked.
    pub fn panic_message(&self) -> Option<&str> {
        match self.fault() {
            Some(Fault::Panic { message, .. }) => Some(message),
            _ => None,
        }
    }

    /// Where the worker panicked: `file:line:column`.
    pub fn panic_location(&self) -> Option<&str> {
        match self.fault() {
            Some(Fault::Panic { location, .. }) => Some(location),
            _ => None,
        }
    }

    /// The call was not done within the time that it had.
    pub fn is_timeout(&self) -> bool {
        matches!(self.fault(), Some(Fault::Timeout))
    }

    /// The call was cancelled here.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.fault(), Some(Fault::Cancelled))
    }

    /// There are as many open calls as are allowed.
    pub fn is_full(&self) -> bool {
        matches!(self.fault(), Some(Fault::Full))
    }

    /// A value could not be written or read by the codec, on either side, or was larger
    /// than allowed.
    pub fn is_codec(&self) -> bool {
        matches!(self.fault(), Some(Fault::Codec { .. } | Fault::TooLarge { .. }))
    }

    /// The worker's init function returned an error or panicked; the text is its message.
    pub fn is_init(&self) -> bool {
        matches!(self.fault(), Some(Fault::Init(_) | Fault::PoolBroken { init: true, .. }))
    }

    /// A pool has been finished or killed, and takes no more calls.
    pub fn is_pool_ended(&self) -> bool {
        matches!(self.fault(), Some(Fault::PoolEnded))
    }

    /// The workers of a pool kept dying before they were ready; the text says what of.
    /// [`Pool::reload`](crate::Pool::reload) begins anew.
    pub fn is_pool_broken(&self) -> bool {
        matches!(self.fault(), Some(Fault::PoolBroken { .. }))
    }

    /// An asynchronous worker dropped its `Done` without completing it.
    pub fn is_unanswered(&self) -> bool {
        matches!(self.fault(), Some(Fault::Unanswered))
    }

    /// A callback waited for what only the return of this callback can bring.
    pub fn is_deadlock(&self) -> bool {
        matches!(self.fault(), Some(Fault::WouldDeadlock))
    }

    /// Whether the call had been started when its process ended. `None` where that cannot
    /// be told, or the error is another. A call that was not started can be made again
    /// elsewhere without being done twice.
    ///
    /// A synchronous worker runs its calls in order, so all behind the first that was not
    /// answered certainly were not started. Of the first itself it cannot be said for
    /// certain, nor of any sent to an asynchronous worker; they count as started. What was
    /// not sent, or was behind a call that panicked, certainly was not.
    pub fn was_started(&self) -> Option<bool> {
        self.ended()?.started
    }

    /// How the worker process ended, if that is why the call failed, and it is known.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.ended()?.status
    }

    /// The largest resident set of the worker process that ended, in bytes.
    pub fn peak_memory(&self) -> Option<u64> {
        self.ended()?.peak_memory
    }

    /// Why this library killed the worker process, in a few words, if it did, and that is
    /// why the call failed: for another call's timeout, for instance.
    pub fn killed_because(&self) -> Option<&str> {
        self.ended()?.because
    }

    /// The end of what the worker process that ended wrote to standard error, if the pool
    /// [keeps](crate::pool::PoolBuilder::capture_stderr) that: up to 4 KiB, in whole lines.
    pub fn stderr_tail(&self) -> Option<&str> {
        self.ended()?.said.as_deref()
    }

    pub(super) fn is_worker_gone(&self) -> bool {
        self.ended().is_some()
    }

    pub(super) fn is_worker_protocol(&self) -> bool {
        matches!(self.fault(), Some(Fault::Protocol(_)))
    }

    pub(super) fn is_worker_room(&self) -> bool {
        matches!(
            self.fault(),
            Some(Fault::NoRoomForFds | Fault::NoRoomForFdsHere | Fault::FdsRefused { .. })
        )
    }
}
