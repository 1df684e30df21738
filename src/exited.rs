//! The end of a process, as a future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::error::Error;
use crate::link::Link;
use crate::slot::{Slot, State};

/// The end of a process; see [`Child::exited`](crate::Child::exited). It can outlive the [`Child`](crate::Child).
#[must_use = "futures do nothing unless awaited"]
pub struct Exited {
    link: Arc<Link>,
    slot: Arc<Slot>,
    key: usize,
}

impl Exited {
    pub(crate) fn new(link: Arc<Link>, slot: Arc<Slot>) -> Exited {
        static KEYS: AtomicUsize = AtomicUsize::new(0);
        let key = KEYS.fetch_add(1, Ordering::Relaxed);
        slot.lock().futures += 1;
        Exited { link, slot, key }
    }

    fn with_waker(&self, state: &mut State, waker: Option<std::task::Waker>) {
        state.wakers.retain(|(key, _)| *key != self.key);
        state.wakers.extend(waker.map(|w| (self.key, w)));
    }
}

impl Future for Exited {
    type Output = Result<ExitStatus, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // In a fork of the program, a lock may be held by a thread that is not there.
        if let Err(error) = self.link.check_owner() {
            return Poll::Ready(Err(error));
        }
        {
            let mut state = self.slot.lock();
            if let Some(outcome) = state.outcome() {
                return Poll::Ready(outcome);
            }
            self.with_waker(&mut state, Some(context.waker().clone()));
        }
        match self.link.watch_for(&self.slot) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Exited {
    fn drop(&mut self) {
        // As in `poll`.
        if !self.link.home.is_ours() {
            return;
        }
        let mut state = self.slot.lock();
        state.futures -= 1;
        self.with_waker(&mut state, None);
    }
}

impl fmt::Debug for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exited").finish_non_exhaustive()
    }
}
