//! The parent's callbacks.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use super::codec::{Body, CodecError};
use super::logs::Logs;
use crate::error::{Error, Fault};
use crate::left::Left;

pub(crate) type OnError = Box<dyn FnMut(Error) + Send>;
pub(crate) type OnDestroy = Box<dyn FnOnce() + Send>;
/// Decodes an event, and passes it on.
pub(crate) type OnEvent = Box<dyn FnMut(&Body<'_>, Vec<OwnedFd>) -> Result<(), CodecError> + Send>;

/// Who looks after a worker, beside its callers.
pub(crate) trait Overseer: Send + Sync {
    /// A number of the pool, not 0.
    fn owner(&self) -> usize;
    /// Its init function has returned.
    fn ready(&self);
    /// It wants no more calls.
    fn retires(&self);
    /// It is asynchronous, and has no more to do with a call that was given up.
    fn let_go(&self);
    /// Somebody reads what it says, and has the hub look out for more after that.
    fn is_attended(&self) -> bool;
    /// The end of what it wrote to standard error; it has ended.
    fn last_words(&self) -> Option<Arc<str>>;
    /// The process has ended, and its calls have been told. Why, unless it was to.
    fn gone(&self, why: Option<Error>);
}

/// Called by one thread at a time, without any lock held: a callback may make calls, and
/// may set another one.
#[derive(Default)]
pub(super) struct Handlers {
    set: Mutex<Set>,
    logs: Option<Logs>,
    overseer: Option<Box<dyn Overseer>>,
    /// Of the overseer; 0 without one.
    owner: usize,
}

#[derive(Default)]
pub(crate) struct Set {
    pub(crate) event: Option<OnEvent>,
    pub(crate) error: Option<OnError>,
    pub(crate) destroy: Option<OnDestroy>,
    /// An event that nobody wanted has been reported.
    unhandled_told: bool,
    /// Nothing will be called any more.
    over: bool,
}

impl Handlers {
    pub(super) fn new(
        set: Set,
        logs: Option<Logs>,
        overseer: Option<Box<dyn Overseer>>,
    ) -> Handlers {
        let owner = overseer.as_ref().map_or(0, |overseer| overseer.owner());
        Handlers { set: Mutex::new(set), logs, overseer, owner }
    }

    pub(super) fn owner(&self) -> usize {
        self.owner
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn any(&self) -> bool {
        let set = self.lock();
        self.logs.is_some()
            || self.overseer.is_some()
            || set.event.is_some()
            || set.error.is_some()
            || set.destroy.is_some()
    }

    /// The worker is looked after by a pool.
    pub(super) fn is_overseen(&self) -> bool {
        self.overseer.is_some()
    }

    /// A thread that uses the pool reads what the worker says.
    pub(super) fn is_attended(&self) -> bool {
        self.overseer.as_ref().is_some_and(|overseer| overseer.is_attended())
    }

    /// Tells a pool; an error if there is none.
    pub(super) fn tell_overseer(&self, tell: impl FnOnce(&dyn Overseer)) -> Result<(), Fault> {
        let overseer = self.overseer.as_deref();
        tell(overseer.ok_or(Fault::Protocol("a frame that is for a pool"))?);
        Ok(())
    }

    /// An error if a thread of the process that this one was forked from has it locked.
    pub(super) fn take_over(&self, left: &Left) -> Result<(), Error> {
        left.lock(&self.set).map(drop)
    }

    /// From now on events go there.
    pub(super) fn set_event(&self, event: OnEvent) {
        let mut set = self.lock();
        // Else dropped, so that whoever receives from it finds the end.
        if !set.over {
            set.event = Some(event);
        }
    }

    pub(super) fn event(&self, body: &Body<'_>, fds: Vec<OwnedFd>, fds_lost: bool) {
        if fds_lost {
            return self.error(Fault::NoRoomForFdsHere.into());
        }
        let Some(mut event) = self.lock().event.take() else {
            if !std::mem::replace(&mut self.lock().unhandled_told, true) {
                self.error(Fault::EventUnhandled.into());
            }
            return;
        };
        let done = quietly(|| event(body, fds));
        self.lock().event.get_or_insert(event);
        if let Some(Err(why)) = done {
            self.error(Fault::Codec { what: "an event", why: why.to_string().into() }.into());
        }
    }

    /// The end of what the worker wrote to standard error, if a pool keeps it.
    pub(super) fn last_words(&self) -> Option<Arc<str>> {
        self.overseer.as_ref()?.last_words()
    }

    /// What the worker logs, for this program's subscriber.
    pub(super) fn log(&self, body: &Body<'_>) -> Result<(), Fault> {
        let logs = self.logs.as_ref().ok_or(Fault::Protocol("logs that nobody asked for"))?;
        quietly(|| logs.emit(body)).unwrap_or(Ok(()))
    }

    /// The worker logs no more.
    pub(super) fn end_logs(&self) {
        if let Some(logs) = &self.logs {
            quietly(|| logs.end());
        }
    }

    pub(super) fn error(&self, error: Error) {
        let Some(mut handler) = self.lock().error.take() else {
            tracing::warn!(target: "offshoot", %error, "a worker, of which nobody handles errors");
            return;
        };
        quietly(|| handler(error));
        self.lock().error.get_or_insert(handler);
    }

    /// The last thing that is called; all callbacks are dropped then.
    pub(super) fn end(&self, fault: Option<Error>) {
        if let Some(overseer) = &self.overseer {
            overseer.gone(fault);
            let set = std::mem::replace(&mut *self.lock(), Set { over: true, ..Set::default() });
            quietly(|| drop(set));
            return;
        }
        match fault {
            Some(error) => self.error(error),
            None => {
                let destroy = self.lock().destroy.take();
                if let Some(destroy) = destroy {
                    quietly(destroy);
                }
            }
        }
        let set = std::mem::replace(&mut *self.lock(), Set { over: true, ..Set::default() });
        quietly(|| drop(set));
    }
}

/// A panic of a callback is printed, and ends there: the thread belongs to somebody else.
pub(crate) fn quietly<T>(callback: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(callback)).ok()
}
