//! The calls of a map: made as there is use for them, and their results as they come.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use super::core::{Core, Full};
use super::errand::{Errand, Goal, Job, Sink, Wishes};
use super::handle::frame;
use crate::error::Error;
use crate::lead::Seat;
use crate::rpc::pooled::Speech;

/// Where results arrive, in whatever order.
struct Arrivals<R> {
    /// There are some.
    any: AtomicBool,
    state: Mutex<Arrived<R>>,
}

struct Arrived<R> {
    results: VecDeque<(u64, Result<R, Error>)>,
    seat: Option<Arc<Seat>>,
    waker: Option<Waker>,
}

impl<R> Arrivals<R> {
    fn lock(&self) -> MutexGuard<'_, Arrived<R>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<R: Send> Sink<R> for Arrivals<R> {
    fn put(&self, index: u64, outcome: Result<R, Error>) {
        let mut state = self.lock();
        state.results.push_back((index, outcome));
        self.any.store(true, Ordering::Release);
        let (seat, waker) = (state.seat.take(), state.waker.take());
        drop(state);
        if let Some(seat) = seat {
            seat.ring();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The calls of one map.
pub(super) struct Flow<I, A: 'static, R: 'static, E: 'static> {
    core: Arc<Core>,
    speech: &'static Speech<A, R, E>,
    items: Option<I>,
    /// One for which there was no room.
    held: Option<Arc<Errand<R>>>,
    arrivals: Arc<Arrivals<R>>,
    /// Results that have been taken from there.
    ready: VecDeque<(u64, Result<R, Error>)>,
    /// Calls that were made.
    made: u64,
    /// Those of them of which the results have not been taken.
    open: u64,
}

impl<I, A, R, E> Flow<I, A, R, E>
where
    I: Iterator<Item = A>,
    R: Send + 'static,
    E: Send + 'static,
{
    pub(super) fn new(core: Arc<Core>, speech: &'static Speech<A, R, E>, items: I) -> Self {
        let state = Arrived { results: VecDeque::new(), seat: None, waker: None };
        Flow {
            core,
            speech,
            items: Some(items),
            held: None,
            arrivals: Arc::new(Arrivals { any: AtomicBool::new(false), state: Mutex::new(state) }),
            ready: VecDeque::new(),
            made: 0,
            open: 0,
        }
    }

    /// Makes a call of the next item; whether there was one, and room.
    fn make_one(&mut self, full: Full) -> bool {
        let (index, errand) = match self.held.take() {
            Some(held) => (self.made, held),
            None => {
                let Some(item) = self.items.as_mut().and_then(Iterator::next) else {
                    self.items = None;
                    return false;
                };
                let index = self.made;
                let frame = match frame(self.speech, &item) {
                    Ok(frame) => frame,
                    Err(error) => {
                        self.made += 1;
                        self.open += 1;
                        self.arrivals.put(index, Err(error));
                        return true;
                    }
                };
                let goal = Goal::Sink(Arc::clone(&self.arrivals) as _, index);
                let decode = self.speech.decode_reply;
                (index, Errand::new(&self.core, frame, Wishes::default(), goal, decode))
            }
        };
        match self.core.submit(Arc::clone(&errand) as Arc<dyn Job>, full) {
            Ok(()) => {}
            Err(error) if error.is_full() && full == Full::Refuse => {
                self.held = Some(errand);
                return false;
            }
            Err(error) => self.arrivals.put(index, Err(error)),
        }
        self.made += 1;
        self.open += 1;
        true
    }

    /// Makes calls until there are `most` on their way, as long as nothing has come.
    fn make(&mut self, most: u64) {
        while self.open < most && self.make_one(Full::Refuse) {
            if self.ready.is_empty() && self.arrivals.any.load(Ordering::Acquire) {
                break;
            }
        }
    }

    /// Takes what has come; without anything, waits for it, or has `waker` woken.
    fn collect(&mut self, waker: Option<&Waker>) -> Poll<()> {
        if self.open == 0 && self.held.is_some() && waker.is_none() {
            // Others have filled the queue.
            self.make_one(Full::Wait);
        }
        loop {
            let mut state = self.arrivals.lock();
            if !state.results.is_empty() {
                self.ready.append(&mut state.results);
                self.arrivals.any.store(false, Ordering::Release);
                self.open -= self.ready.len() as u64;
                return Poll::Ready(());
            }
            match waker {
                None => {
                    let seat = Seat::new();
                    state.seat = Some(Arc::clone(&seat));
                    drop(state);
                    seat.sleep(None);
                }
                Some(waker) => {
                    state.waker = Some(waker.clone());
                    drop(state);
                    if self.open == 0 {
                        self.core.wake_for_room(waker);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// The next result of any item. `extra` results are kept back, and count as calls.
    pub(super) fn next(
        &mut self,
        extra: u64,
        waker: Option<&Waker>,
    ) -> Poll<Option<(u64, Result<R, Error>)>> {
        loop {
            let window = self.core.window();
            // Whoever has results to hand out should not wait for items first.
            let most = if self.ready.is_empty() { window } else { window / 2 };
            self.make(most.saturating_sub(extra + self.ready.len() as u64));
            if let Some(result) = self.ready.pop_front() {
                return Poll::Ready(Some(result));
            }
            if self.open == 0 && self.held.is_none() && self.items.is_none() {
                return Poll::Ready(None);
            }
            if self.open == 0 && self.held.is_none() {
                // Room for none beside what is kept back: one has to go on.
                self.make(1);
                continue;
            }
            if self.collect(waker).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
