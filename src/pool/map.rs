//! Calls for each of many items, no more of them on their way than the pool has use for.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

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
struct Flow<I, A: 'static, R: 'static, E: 'static> {
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
    fn new(core: Arc<Core>, speech: &'static Speech<A, R, E>, items: I) -> Self {
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
    fn next(&mut self, extra: u64, waker: Option<&Waker>) -> Poll<Option<(u64, Result<R, Error>)>> {
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

/// Results of [`Pool::map`](crate::Pool::map), in the order of the items.
///
/// An iterator that waits for them, and by [`into_stream`](Map::into_stream) a stream.
#[must_use = "calls are made as results are taken"]
pub struct Map<I, A: 'static, R: 'static, E: 'static = ()> {
    flow: Flow<I, A, R, E>,
    /// Results that came before their turn.
    early: VecDeque<Option<Result<R, Error>>>,
    /// How many of them there are.
    kept: u64,
    /// Whose turn it is.
    turn: u64,
}

impl<I, A, R, E> Map<I, A, R, E>
where
    I: Iterator<Item = A>,
    R: Send + 'static,
    E: Send + 'static,
{
    pub(super) fn new(core: Arc<Core>, speech: &'static Speech<A, R, E>, items: I) -> Self {
        Map { flow: Flow::new(core, speech, items), early: VecDeque::new(), kept: 0, turn: 0 }
    }

    fn poll(&mut self, waker: Option<&Waker>) -> Poll<Option<Result<R, Error>>> {
        loop {
            if let Some(Some(_)) = self.early.front() {
                self.turn += 1;
                self.kept -= 1;
                return Poll::Ready(self.early.pop_front().flatten());
            }
            match self.flow.next(self.kept, waker) {
                Poll::Ready(Some((index, result))) => {
                    let at = (index - self.turn) as usize;
                    if self.early.len() <= at {
                        self.early.resize_with(at + 1, || None);
                    }
                    self.early[at] = Some(result);
                    self.kept += 1;
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The same as a stream, to be awaited.
    pub fn into_stream(self) -> MapStream<Self> {
        MapStream { map: self }
    }
}

impl<I, A, R, E> Iterator for Map<I, A, R, E>
where
    I: Iterator<Item = A>,
    R: Send + 'static,
    E: Send + 'static,
{
    type Item = Result<R, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        ready(self.poll(None))
    }
}

/// Results of [`Pool::map_unordered`](crate::Pool::map_unordered), as they come.
///
/// An iterator that waits for them, and by [`into_stream`](MapUnordered::into_stream) a
/// stream.
#[must_use = "calls are made as results are taken"]
pub struct MapUnordered<I, A: 'static, R: 'static, E: 'static = ()> {
    flow: Flow<I, A, R, E>,
}

impl<I, A, R, E> MapUnordered<I, A, R, E>
where
    I: Iterator<Item = A>,
    R: Send + 'static,
    E: Send + 'static,
{
    pub(super) fn new(core: Arc<Core>, speech: &'static Speech<A, R, E>, items: I) -> Self {
        MapUnordered { flow: Flow::new(core, speech, items) }
    }

    /// With the number of the item that each belongs to, from 0.
    pub fn indexed(self) -> Indexed<I, A, R, E> {
        Indexed { flow: self.flow }
    }

    /// The same as a stream, to be awaited.
    pub fn into_stream(self) -> MapStream<Self> {
        MapStream { map: self }
    }
}

impl<I, A, R, E> Iterator for MapUnordered<I, A, R, E>
where
    I: Iterator<Item = A>,
    R: Send + 'static,
    E: Send + 'static,
{
    type Item = Result<R, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        ready(self.flow.next(0, None)).map(|(_, result)| result)
    }
}

/// Results as they come, each with the number of its item; see
/// [`MapUnordered::indexed`].
#[must_use = "calls are made as results are taken"]
pub struct Indexed<I, A: 'static, R: 'static, E: 'static = ()> {
    flow: Flow<I, A, R, E>,
}

impl<I, A, R, E> Indexed<I, A, R, E>
where
    I: Iterator<Item = A>,
    R: Send + 'static,
    E: Send + 'static,
{
    /// The same as a stream, to be awaited.
    pub fn into_stream(self) -> MapStream<Self> {
        MapStream { map: self }
    }
}

impl<I, A, R, E> Iterator for Indexed<I, A, R, E>
where
    I: Iterator<Item = A>,
    R: Send + 'static,
    E: Send + 'static,
{
    type Item = (usize, Result<R, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        ready(self.flow.next(0, None)).map(|(index, result)| (index as usize, result))
    }
}

fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(ready) => ready,
        Poll::Pending => unreachable!("without a waker it waits"),
    }
}

/// Results of a map as a stream.
#[must_use = "streams do nothing unless polled"]
pub struct MapStream<M> {
    map: M,
}

macro_rules! stream {
    ($name:ident, $item:ty, $poll:expr) => {
        impl<I, A, R, E> FusedIterator for $name<I, A, R, E>
        where
            I: Iterator<Item = A>,
            R: Send + 'static,
            E: Send + 'static,
        {
        }

        impl<I, A, R, E> Stream for MapStream<$name<I, A, R, E>>
        where
            // What is in it is never pinned.
            I: Iterator<Item = A> + Unpin,
            R: Send + Unpin + 'static,
            E: Send + 'static,
        {
            type Item = $item;

            fn poll_next(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<Option<Self::Item>> {
                let poll: fn(&mut $name<I, A, R, E>, &Waker) -> Poll<Option<$item>> = $poll;
                poll(&mut self.get_mut().map, context.waker())
            }
        }

        impl<I, A, R, E> fmt::Debug for $name<I, A, R, E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

stream!(Map, Result<R, Error>, |map, waker| map.poll(Some(waker)));
stream!(MapUnordered, Result<R, Error>, |map, waker| {
    map.flow.next(0, Some(waker)).map(|next| next.map(|(_, result)| result))
});
stream!(Indexed, (usize, Result<R, Error>), |map, waker| {
    map.flow.next(0, Some(waker)).map(|next| next.map(|(index, result)| (index as usize, result)))
});

impl<M> fmt::Debug for MapStream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapStream").finish_non_exhaustive()
    }
}
