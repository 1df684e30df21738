//! The parent's callbacks.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};

use super::codec::{Body, CodecError};
use super::logs::Logs;
use crate::error::{Error, Fault};

type OnError = Box<dyn FnMut(Error) + Send>;
type OnDestroy = Box<dyn FnOnce() + Send>;
/// Decodes an event, and passes it on.
pub(super) type OnEvent = Box<dyn FnMut(&Body<'_>, Vec<OwnedFd>) -> Result<(), CodecError> + Send>;

/// Called by one thread at a time, without any lock held: a callback may make calls, and
/// may set another one.
#[derive(Default)]
pub(super) struct Handlers {
    set: Mutex<Set>,
    logs: Option<Logs>,
}

#[derive(Default)]
pub(super) struct Set {
    pub(super) event: Option<OnEvent>,
    pub(super) error: Option<OnError>,
    pub(super) destroy: Option<OnDestroy>,
    /// An event that nobody wanted has been reported.
    unhandled_told: bool,
    /// Nothing will be called any more.
    over: bool,
}

impl Handlers {
    pub(super) fn new(set: Set, logs: Option<Logs>) -> Handlers {
        Handlers { set: Mutex::new(set), logs }
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn any(&self) -> bool {
        let set = self.lock();
        self.logs.is_some() || set.event.is_some() || set.error.is_some() || set.destroy.is_some()
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
pub(super) fn quietly<T>(callback: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(callback)).ok()
}
