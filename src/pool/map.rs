//! Calls for each of many items, no more of them on their way than the pool has use for:
//! as an iterator, and as a stream.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::core::Core;
use super::flow::Flow;
use crate::error::Error;
use crate::rpc::pooled::Speech;

/// Results of [`Pool::map`](crate::Pool::map), in the order of the items.
///
/// An iterator that waits for them, and by [`into_stream`](Map::into_stream) a stream. In a
/// fork of the program, each item whose result was not taken before has an error there
/// ([`is_not_owner`](Error::is_not_owner)).
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
/// stream. In a fork of the program as [`Map`].
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
