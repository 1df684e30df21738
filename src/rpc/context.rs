//! What a worker function can tell its parent beside its result.

use std::fmt;
use std::sync::Arc;

use super::codec::{CodecError, Sink};
use super::frame::Kind;
use super::output::Output;

/// A worker's line to its parent: the first parameter of a worker function that sends
/// events, as `cx: &Context<E>`.
///
/// It can be cloned and sent to other threads.
pub struct Context<E> {
    output: Arc<Output>,
    encode: fn(&E, &mut Sink) -> Result<(), CodecError>,
}

impl<E> Context<E> {
    pub(super) fn new(
        output: Arc<Output>,
        encode: fn(&E, &mut Sink) -> Result<(), CodecError>,
    ) -> Context<E> {
        Context { output, encode }
    }

    /// Sends an event, "a bit like RPC calls made by the child process to the parent,
    /// except that there is no notion of return values". The parent gets events and
    /// replies in exactly the order in which they are made here.
    ///
    /// It waits while the parent is slow in reading. An event that cannot be encoded
    /// comes out of the parent's `on_error`.
    ///
    /// (`AnyEvent::Fork::RPC::event`.)
    pub fn event(&self, event: &E) {
        self.output.send(Kind::Event, 0, |sink| (self.encode)(event, sink));
    }

    /// Returns when all events and replies that were made so far are on their way, so
    /// that the end of this process, however sudden, cannot take them with it.
    ///
    /// (`AnyEvent::Fork::RPC::flush`, of its later versions.)
    pub fn flush(&self) {
        self.output.flush();
    }
}

impl<E> Clone for Context<E> {
    fn clone(&self) -> Self {
        Context { output: Arc::clone(&self.output), encode: self.encode }
    }
}

impl<E> fmt::Debug for Context<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
