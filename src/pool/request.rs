//! A call that is to be made in a certain way.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::core::Full;
use super::errand::{Errand, Goal, Job, Wishes};
use super::handle::Pool;
use super::room::InLine;
use crate::error::{Error, Fault};
use crate::room::Waiter;
use crate::rpc::pooled::Slot;
use crate::rpc::{Call, Refused};

/// A call with options of its own; see [`Pool::request`].
#[must_use = "nothing is called before `call`"]
pub struct Request<'a, A: 'static, R: 'static, E: 'static = ()> {
    pool: &'a Pool<A, R, E>,
    args: A,
    wishes: Wishes,
}

impl<'a, A: 'static, R: Send + 'static, E: Send + 'static> Request<'a, A, R, E> {
    pub(super) fn new(pool: &'a Pool<A, R, E>, args: A) -> Request<'a, A, R, E> {
        Request { pool, args, wishes: Wishes::default() }
    }

    /// Of the calls that wait, those with the highest priority are given to workers first;
    /// 0 unless said otherwise. Calls that a worker has are not touched.
    pub fn priority(mut self, priority: i32) -> Self {
        self.wishes.priority = priority;
        self
    }

    /// How long it may run, in place of the pool's
    /// [`timeout`](super::PoolBuilder::timeout).
    pub fn timeout(mut self, time: Duration) -> Self {
        self.wishes.time = Some(time);
        self
    }

    /// It does no harm if the function runs twice: so if a worker dies of whatever reason
    /// while it runs, it is made again, by another worker, as often as the pool's
    /// [`retry`](super::PoolBuilder::retry) says. A call that was not started is given to
    /// another worker in any case; one that takes too long, panics or is cancelled is not
    /// made again.
    pub fn idempotent(mut self) -> Self {
        self.wishes.retries = self.pool.core.plan.retries;
        self
    }

    /// Calls; see [`Pool::call`].
    pub fn call(self) -> Call<R> {
        let (slot, errand) = match self.prepare() {
            Ok(both) => both,
            Err((slot, error)) => return Call::failed(slot, error),
        };
        drop(self.args);
        match self.pool.core.submit(Arc::clone(&errand) as _, Full::Wait) {
            Ok(()) => Call::pooled(slot, errand),
            Err(error) => Call::failed(slot, error),
        }
    }

    /// Calls, unless there is no room; see [`Pool::try_call`].
    ///
    /// # Errors
    /// As `Pool::try_call`.
    pub fn try_call(self) -> Result<Call<R>, Refused<A>> {
        let made = match self.prepare() {
            Ok((slot, errand)) => {
                let made = self.pool.core.submit(Arc::clone(&errand) as _, Full::Refuse);
                if made.as_ref().is_err_and(Error::is_full) {
                    errand.card().not_taken(&Fault::Full);
                }
                made.map(|()| Call::pooled(slot, errand))
            }
            Err((_, error)) => Err(error),
        };
        made.map_err(|error| Refused { args: self.args, error })
    }

    /// Awaits room, and calls; see [`Pool::call_async`].
    pub async fn call_async(self) -> Call<R> {
        let (slot, errand) = match self.prepare() {
            Ok(both) => both,
            Err((slot, error)) => return Call::failed(slot, error),
        };
        let core = Arc::clone(&self.pool.core);
        let mut line = InLine::new(&core);
        drop(self.args);
        let made = poll_fn(|context| {
            let job: Arc<dyn Job> = Arc::clone(&errand) as _;
            if let Err(error) = core.check() {
                return Poll::Ready(Err(error));
            }
            let now = Instant::now();
            let mut state = core.lock();
            match core.push(&mut state, job, now) {
                Ok(()) => {
                    core.carry_out(state, now);
                    errand.card().attended.store(false, Ordering::Release);
                    Poll::Ready(Ok(()))
                }
                Err((back, Fault::Full)) => {
                    let before = line.wait(&mut state, Waiter::Task(context.waker().clone()));
                    drop(state);
                    drop((back, before));
                    Poll::Pending
                }
                Err((back, fault)) => {
                    back.card().not_taken(&fault);
                    Poll::Ready(Err(fault.into()))
                }
            }
        });
        let made = made.await;
        drop(line);
        match made {
            Ok(()) => Call::pooled(slot, errand),
            Err(error) => Call::failed(slot, error),
        }
    }

    /// Calls, and has `then` called with the result; see [`Pool::call_then`].
    pub fn call_then(self, then: impl FnOnce(Result<R, Error>) + Send + 'static) {
        let frame = match self.pool.frame(&self.args) {
            Ok(frame) => frame,
            Err(error) => return then(Err(error)),
        };
        let goal = Goal::Then(Mutex::new(Some(Box::new(then))));
        let decode = self.pool.speech.decode_reply;
        let errand = Errand::new(&self.pool.core, frame, self.wishes, goal, decode);
        drop(self.args);
        if let Err(error) = self.pool.core.submit(Arc::clone(&errand) as _, Full::Wait) {
            errand.refuse_with(error);
        }
    }

    #[allow(clippy::type_complexity, reason = "both halves of one call, or its end")]
    fn prepare(&self) -> Result<(Arc<Slot<R>>, Arc<Errand<R>>), (Arc<Slot<R>>, Error)> {
        let decode = self.pool.speech.decode_reply;
        let slot = Slot::new(decode);
        let frame = match self.pool.frame(&self.args) {
            Ok(frame) => frame,
            Err(error) => return Err((slot, error)),
        };
        let goal = Goal::Slot(Arc::clone(&slot));
        Ok((slot, Errand::new(&self.pool.core, frame, self.wishes, goal, decode)))
    }
}

impl<A, R, E> fmt::Debug for Request<'_, A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("wishes", &self.wishes).finish_non_exhaustive()
    }
}
