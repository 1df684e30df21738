//! One call, from the parent's side.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::conn::{Conn, LOOKS_AGAIN, Look, Ticket};
use crate::error::{Error, Fault};
use crate::lead::Seat;

mod slot;

use slot::LetGo;
pub(super) use slot::Then;
pub(crate) use slot::{Complete, OnResult, Slot, decoded};

/// A call that was made: its result can be waited for, awaited, received, or done without.
///
/// Dropping it does not take the call back: it still runs, and its result is thrown away.
#[must_use = "a call whose result is not wanted can be dropped, but an error is lost with it"]
pub struct Call<R> {
    slot: Arc<Slot<R>>,
    /// Where it was made; nowhere, if it failed before.
    made: Option<Made>,
}

enum Made {
    Rpc(Arc<Conn>, Ticket),
    Pool(Arc<dyn Pooled>),
}

/// A call of a pool, which may be at one worker or another, or at none yet.
pub(crate) trait Pooled: Send + Sync {
    /// An error unless this process may use the pool.
    fn check(&self) -> Result<(), Error>;
    /// What this thread would wait for cannot come while it does.
    fn cannot_wait(&self) -> bool;
    /// Waits until `done`, or the deadline. `sit` makes a seat that is rung then.
    fn wait(
        &self,
        sit: &dyn Fn() -> Arc<Seat>,
        deadline: Option<Instant>,
        done: &mut dyn FnMut() -> bool,
    );
    /// From now on nobody waits.
    fn watch(&self) -> Result<(), Error>;
    /// Hands out what has arrived, up to what is enough.
    fn look(&self, enough: &dyn Fn() -> bool);
    fn cancel(&self);
}

impl Made {
    fn check(&self) -> Result<(), Error> {
        match self {
            Made::Rpc(conn, _) => conn.check(),
            Made::Pool(pooled) => pooled.check(),
        }
    }

    fn cannot_wait(&self) -> bool {
        match self {
            Made::Rpc(conn, _) => conn.is_calling_back(),
            Made::Pool(pooled) => pooled.cannot_wait(),
        }
    }

    /// From now on somebody is to be told without waiting.
    fn watch(&self) -> Result<(), Error> {
        match self {
            Made::Rpc(conn, _) => conn.watch(),
            Made::Pool(pooled) => pooled.watch(),
        }
    }
}

impl<R> Call<R> {
    pub(super) fn made(slot: Arc<Slot<R>>, conn: Arc<Conn>, ticket: Ticket) -> Call<R> {
        Call { slot, made: Some(Made::Rpc(conn, ticket)) }
    }

    /// One of a pool.
    pub(crate) fn pooled(slot: Arc<Slot<R>>, pooled: Arc<dyn Pooled>) -> Call<R> {
        Call { slot, made: Some(Made::Pool(pooled)) }
    }

    /// One that has failed before it was made.
    pub(crate) fn failed(slot: Arc<Slot<R>>, error: Error) -> Call<R> {
        slot.tell(Err(error));
        Call { slot, made: None }
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// Why there is none; see [`Error`]'s questions about calls. What the worker function
    /// returns is the result, also if it is an `Err`. In a callback of the same `Rpc` or
    /// pool, and of a pool's call in any callback that this library's background thread
    /// runs: [`is_deadlock`](Error::is_deadlock), if the result is not there yet.
    pub fn wait(mut self) -> Result<R, Error> {
        self.wait_until(None).expect("without a deadline there is an outcome")
    }

    /// Waits for the result, but no longer than `patience`; `None` if it is not there by
    /// then. The call goes on.
    ///
    /// # Errors
    /// As [`wait`](Call::wait).
    pub fn wait_timeout(&mut self, patience: Duration) -> Result<Option<R>, Error> {
        self.wait_until(Instant::now().checked_add(patience)).transpose()
    }

    /// The result, if it is there.
    ///
    /// # Errors
    /// As [`wait`](Call::wait).
    pub fn try_wait(&mut self) -> Result<Option<R>, Error> {
        if let Some(known) = self.slot.take() {
            return known.map(Some);
        }
        if let Some(made) = &self.made {
            made.check()?;
        }
        match &self.made {
            Some(Made::Rpc(conn, _)) => conn.look(),
            Some(Made::Pool(pooled)) => pooled.look(&|| false),
            None => {}
        }
        self.slot.take().transpose()
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Option<Result<R, Error>> {
        let Some(made) = &self.made else {
            return Some(self.slot.take().expect("what was not made has failed"));
        };
        if let Err(error) = made.check() {
            return Some(Err(error));
        }
        if made.cannot_wait() {
            let known = self.slot.take();
            return Some(known.unwrap_or_else(|| Err(Fault::WouldDeadlock.into())));
        }
        let sit = || self.slot.sit();
        let outcome = match made {
            Made::Rpc(conn, ticket) => {
                // Nobody else can wake a thread that reads, and the worker may not answer.
                let due = conn.timeout_due(*ticket).filter(|due| deadline.is_none_or(|d| *due < d));
                let (mut until, mut look) = (due.or(deadline), None);
                loop {
                    let outcome = conn.wait(sit, until, || self.slot.take());
                    if outcome.is_some() {
                        break outcome;
                    }
                    // It may be there, and nobody has read it.
                    let look = look.get_or_insert_with(Look::begin);
                    let looked = conn.has_looked(look, || self.slot.is_told());
                    let outcome = self.slot.take();
                    let over = deadline.is_some_and(|d| d <= Instant::now());
                    if outcome.is_some() || due.is_none() || (over && !looked) {
                        break outcome;
                    }
                    if looked {
                        conn.cancel(*ticket, Fault::Timeout);
                        // The hub may be about to say the same, but not have got to it. Who
                        // read on until then could do so for ever.
                        self.slot.tell(Err(Fault::Timeout.into()));
                        break self.slot.take();
                    }
                    // Another thread reads, and is in a callback.
                    until = Some(Instant::now() + LOOKS_AGAIN);
                }
            }
            Made::Pool(pooled) => {
                let mut outcome = None;
                pooled.wait(&sit, deadline, &mut || {
                    if outcome.is_none() {
                        outcome = self.slot.take();
                    }
                    outcome.is_some()
                });
                outcome.or_else(|| {
                    pooled.look(&|| self.slot.is_told());
                    self.slot.take()
                })
            }
        };
        let outcome = outcome?;
        // Nothing is left to be dropped.
        self.made = None;
        Some(outcome)
    }

    /// Takes the call back, as far as that can be done; if its result is not there yet,
    /// it fails with [`is_cancelled`](Error::is_cancelled).
    ///
    /// A call that has not been sent is taken out; one that waits in the worker is
    /// skipped there. One that runs is ended, in a synchronous worker, by killing the
    /// process: calls behind it fail as [not started](Error::was_started). An `async fn`
    /// is dropped at its next await; of a worker with `Done` the result is thrown away.
    pub fn cancel(&self) {
        match &self.made {
            Some(made) if made.check().is_err() => {}
            Some(Made::Rpc(conn, ticket)) => conn.cancel(*ticket, Fault::Cancelled),
            Some(Made::Pool(pooled)) => pooled.cancel(),
            None => {}
        }
    }

    /// The result as a channel that receives one message, to be used in a `select!`.
    pub fn into_receiver(self) -> Receiver<Result<R, Error>> {
        let (sender, receiver) = bounded(1);
        if self.slot.send_to(sender)
            && let Some(made) = &self.made
            && let Err(error) = made.watch()
        {
            self.slot.tell(Err(error));
        }
        receiver
    }
}

impl<R> Future for Call<R> {
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.slot.wake(context.waker()) {
            return Poll::Ready(self.slot.take().expect("it has come"));
        }
        let made = self.made.as_ref().expect("what was not made has failed");
        match made.check().and_then(|()| made.watch()) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<R> Drop for Call<R> {
    fn drop(&mut self) {
        if self.made.is_none() {
            return;
        }
        if let Some(Made::Rpc(conn, _)) = &self.made
            && !conn.is_ours()
        {
            // A fork of the program: a lock may be held by a thread that is not here.
            return;
        }
        let left = self.slot.let_go();
        if let Some(Made::Rpc(conn, _)) = &self.made {
            match left {
                LetGo::Told => {}
                // The connection lives until it has it.
                LetGo::Wanted => conn.keep(),
                LetGo::Abandoned => conn.abandoned(),
            }
        }
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("done", &self.slot.is_told()).finish_non_exhaustive()
    }
}
