//! The program's handle of a pool.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::builder::{MOST, PoolBuilder};
use super::core::Core;
use super::errand::{Errand, Goal, Wishes};
use super::map::{Map, MapUnordered};
use super::request::Request;
use super::stats::Stats;
use crate::error::Error;
use crate::process::Process;
use crate::rpc::pooled::{Frame, Kind, MAX_BODY, Slot, Speech, no_frame};
use crate::rpc::{Call, Refused, Worker};

/// Worker processes that are started as they are needed, and calls that are spread over
/// them.
///
/// It survives its workers: one that dies takes the call with it that it was running, and
/// that call's error says how it died; calls behind it, which it had not started, go to
/// others. Workers are started while calls have to wait, and ended when there is nothing
/// to do; they can be recycled after so many calls, so much time, or when they have grown.
/// The template's death is survived too: it is made again.
///
/// All methods can be called from any thread, sync or async. Dropping it lets all calls
/// that were made be done, and then ends the workers; [`finish`](Pool::finish) waits for
/// that. When the program itself ends, so do they, whatever they do.
///
/// (`AnyEvent::Fork::Pool`.)
pub struct Pool<A: 'static, R: 'static, E: 'static = ()> {
    pub(super) core: Arc<Core>,
    pub(super) speech: &'static Speech<A, R, E>,
}

impl<A: 'static, R: Send + 'static, E: Send + 'static> Pool<A, R, E> {
    /// A pool of this worker, to be configured.
    pub fn builder<F>(worker: Worker<F, A, R, E>) -> PoolBuilder<A, R, E> {
        PoolBuilder::new(&worker)
    }

    /// Calls the worker function, in some worker. Several arguments are a tuple, one is
    /// itself, none is `()`.
    ///
    /// It does not wait for the result; but for room, if the pool has a
    /// [`queue_limit`](PoolBuilder::queue_limit). Whatever fails comes out of the [`Call`].
    pub fn call(&self, args: A) -> Call<R> {
        self.request(args).call()
    }

    /// Calls, unless there is no room; then the arguments come back.
    ///
    /// # Errors
    /// [`is_full`](Error::is_full); or why no call can be made.
    pub fn try_call(&self, args: A) -> Result<Call<R>, Refused<A>> {
        self.request(args).try_call()
    }

    /// Awaits room, and calls. What comes out is the call: await that for the result.
    pub async fn call_async(&self, args: A) -> Call<R> {
        self.request(args).call_async().await
    }

    /// Calls, and has `then` called with the result, by the thread that waits for another
    /// call of that worker or by this library's background thread: it should return soon.
    /// It may make calls, but cannot wait for them.
    pub fn call_then(&self, args: A, then: impl FnOnce(Result<R, Error>) + Send + 'static) {
        self.request(args).call_then(then);
    }

    /// A call with a priority, a time of its own, or leave to be made again.
    pub fn request(&self, args: A) -> Request<'_, A, R, E> {
        Request::new(self, args)
    }

    /// Calls the function once on each worker that takes calls now, whatever else these
    /// have to do: to have them load something again, for instance. A worker that dies
    /// before it has begun takes its call with it: the next one begins anew anyway.
    ///
    /// # Errors
    /// Why no call can be made.
    pub fn broadcast(&self, args: A) -> Result<Vec<Call<R>>, Error> {
        self.core.check()?;
        let mut frame = self.frame(&args)?;
        drop(args);
        let mut calls = Vec::new();
        for worker in self.core.takers() {
            let slot = Slot::new(self.speech.decode_reply);
            let goal = Goal::Slot(Arc::clone(&slot));
            let errand = Errand::new(
                &self.core,
                frame.again(),
                Wishes::default(),
                goal,
                self.speech.decode_reply,
            );
            if self.core.give(worker, Arc::clone(&errand) as _) {
                calls.push(Call::pooled(slot, errand));
            }
        }
        Ok(calls)
    }

    /// Calls for each item; the results come in the order of the items, as an iterator (or,
    /// by [`into_stream`](Map::into_stream), a stream).
    ///
    /// Items are taken as capacity frees, by whoever takes results, so an endless iterator
    /// runs in constant memory; what is dropped with results untaken is not done without:
    /// calls that were made are done.
    ///
    /// In a callback, where it cannot wait, each result is an error that
    /// [`is_deadlock`](Error::is_deadlock); a map that was begun elsewhere panics there.
    pub fn map<I: IntoIterator<Item = A>>(&self, items: I) -> Map<I::IntoIter, A, R, E> {
        Map::new(Arc::clone(&self.core), self.speech, items.into_iter())
    }

    /// As [`map`](Pool::map), but results come as soon as they are there.
    /// [`indexed`](MapUnordered::indexed) says which item each belongs to.
    pub fn map_unordered<I: IntoIterator<Item = A>>(
        &self,
        items: I,
    ) -> MapUnordered<I::IntoIter, A, R, E> {
        MapUnordered::new(Arc::clone(&self.core), self.speech, items.into_iter())
    }

    /// New workers are made from this template from now on. Those that there are finish
    /// what they have, and end, in turn: no more of them are away at once than
    /// [`max_recycling`](PoolBuilder::max_recycling) allows. No call is lost. A pool that
    /// was broken begins anew.
    ///
    /// It waits for the template's setup functions.
    ///
    /// # Errors
    /// As [`Process::fork`]: then nothing is changed.
    pub fn reload(&self, template: Process) -> Result<(), Error> {
        self.core.check()?;
        template.settle_now()?;
        self.core.reload(template);
        Ok(())
    }

    pub(super) fn frame(&self, args: &A) -> Result<Frame, Error> {
        frame(self.speech, args)
    }
}

pub(super) fn frame<A, R, E>(speech: &Speech<A, R, E>, args: &A) -> Result<Frame, Error> {
    let encode = |sink: &mut _| (speech.encode_args)(args, sink);
    Frame::encode(Kind::Call, 0, MAX_BODY, encode).map_err(no_frame)
}

impl<A, R, E> Pool<A, R, E> {
    /// How many workers take calls, at most, from now on: at least one. If there are more,
    /// the rest end when they have done what they have. In a fork of the program nothing
    /// happens.
    pub fn resize(&self, max: usize) {
        if self.core.check().is_err() {
            return;
        }
        self.core.with_scheduler(|scheduler, now| scheduler.resize(max.clamp(1, MOST), now));
    }

    /// What it is doing, and has done so far; nothing at all in a fork of the program.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The process ids of all workers, in no order; those that are being made are left
    /// out, as are spares. None in a fork of the program.
    pub fn pids(&self) -> Vec<u32> {
        self.core.pids()
    }

    /// Waits until all calls that were made are over and all workers have ended; no more
    /// calls are taken. What the pool has done in its life.
    ///
    /// (`on_destroy`.)
    ///
    /// # Errors
    /// [`is_deadlock`](Error::is_deadlock) in a callback of this pool, and in any that this
    /// library's background thread runs; [`is_not_owner`](Error::is_not_owner) in a fork of
    /// the program: then nothing is changed.
    pub fn finish(&self) -> Result<Stats, Error> {
        self.core.check_to_wait()?;
        self.core.drain();
        self.core.wait_for_end()?;
        Ok(self.stats())
    }

    /// As [`finish`](Pool::finish), awaited.
    ///
    /// # Errors
    /// As `finish`.
    pub async fn finish_async(&self) -> Result<Stats, Error> {
        self.core.check()?;
        self.core.drain();
        poll_fn(|context| match self.core.is_over_or_wakes(context.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        Ok(self.stats())
    }

    /// Ends all workers at once, whatever they do. Calls that they were running fail as
    /// with any death, and those that wait, be it in a worker, with
    /// [`is_pool_ended`](Error::is_pool_ended); no more calls are taken. It does not wait for
    /// the workers' end: [`finish`](Pool::finish) does.
    ///
    /// # Errors
    /// [`is_not_owner`](Error::is_not_owner) in a fork of the program.
    pub fn kill(&self) -> Result<(), Error> {
        self.core.check()?;
        self.core.kill();
        Ok(())
    }
}

impl<A: 'static, R: 'static, E: 'static> Drop for Pool<A, R, E> {
    fn drop(&mut self) {
        // In a fork of the program it is none of ours.
        if self.core.mark.is_here() {
            self.core.drain();
        }
    }
}

impl<A, R, E> fmt::Debug for Pool<A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.core.mark.is_here() {
            return f.debug_struct("Pool").finish_non_exhaustive();
        }
        let stats = self.stats();
        f.debug_struct("Pool")
            .field("idle", &stats.idle)
            .field("busy", &stats.busy)
            .field("queued", &stats.queued)
            .finish_non_exhaustive()
    }
}
