//! A call's result that is given later, by whichever thread has it.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use nix::sys::eventfd::EventFd;

use super::codec::{CodecError, Sink};
use super::frame::{Failed, Kind};
use super::output::Output;
use super::panics;

/// Where the result of a call goes: a parameter of a worker function, which makes the
/// worker asynchronous.
///
/// The function starts the work and returns; the call is done when
/// [`complete`](Done::complete) is called, before or after that, on any thread. Meanwhile
/// other calls run. The functions themselves run one after the other, all on the thread
/// that reads the calls, so they should return soon.
///
/// Dropped without a result, the call fails with
/// [`is_unanswered`](crate::Error::is_unanswered), also if that is because a thread of
/// yours panics. If the function itself panics, its call fails with
/// [`is_panic`](crate::Error::is_panic), wherever its `Done` is by then.
///
/// "Having both returned from the function and having called the `$done` callback, the
/// child process may exit at any time, so you should call `$done` only when you really
/// are done."
///
/// (`AnyEvent::Fork::RPC`: `async => 1`, and the `$done` callback.)
pub struct Done<R> {
    open: Option<Open>,
    encode: fn(&R, &mut Sink) -> Result<(), CodecError>,
}

impl<R> Done<R> {
    pub(super) fn new(open: Open, encode: fn(&R, &mut Sink) -> Result<(), CodecError>) -> Done<R> {
        Done { open: Some(open), encode }
    }

    /// Gives the result, which is on its way when this returns. Waits while the parent is
    /// slow in reading. The result of a call that was cancelled is thrown away.
    ///
    /// # Panics
    /// If the codec does. The call fails with that panic.
    pub fn complete(mut self, result: R) {
        let Some(open) = self.open.take() else { return };
        let Some(call) = open.answers() else { return };
        let output = &open.calls.output;
        let send = || output.send(Kind::Reply, call, |sink| (self.encode)(&result, sink));
        if let Err(payload) = catch_unwind(AssertUnwindSafe(send)) {
            output.fail(call, &panics::taken(&*payload));
            resume_unwind(payload);
        }
    }

    /// Whether the parent has cancelled the call, or its time is up: nobody waits for the
    /// result any more, so work on it can stop.
    ///
    /// In a pool the call keeps its place among the `load` calls that this worker may have
    /// until this is dropped, or completed.
    ///
    /// Not if only the [`Call`](crate::Call) was dropped: such calls still run. It becomes
    /// true only while the thread that calls the worker function is not busy with that.
    pub fn is_cancelled(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.ticket.is_cancelled())
    }
}

impl<R> Drop for Done<R> {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        if thread::panicking() && INSIDE.get() == Arc::as_ptr(&open.ticket) {
            // Who has called the function knows better why there is no result.
            LEFT.set(true);
        } else if let Some(call) = open.answers() {
            open.calls.output.fail(call, &Failed::Unanswered);
        }
    }
}

impl<R> fmt::Debug for Done<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

thread_local! {
    /// The call whose function runs on this thread.
    static INSIDE: Cell<*const Ticket> = const { Cell::new(std::ptr::null()) };
    /// A panic of that function has dropped its `Done`.
    static LEFT: Cell<bool> = const { Cell::new(false) };
}

const OPEN: u8 = 0;
const ANSWERED: u8 = 1;
const CANCELLED: u8 = 2;

/// The right to answer a call, which is used once: by its `Done`, or by whoever reads
/// that it was cancelled.
#[derive(Debug)]
pub(super) struct Ticket {
    call: u32,
    state: AtomicU8,
}

impl Ticket {
    pub(super) fn new(call: u32) -> Arc<Ticket> {
        Arc::new(Ticket { call, state: AtomicU8::new(OPEN) })
    }

    fn take(&self, state: u8) -> Option<u32> {
        let taken = self.state.compare_exchange(OPEN, state, Ordering::AcqRel, Ordering::Acquire);
        taken.ok().map(|_| self.call)
    }

    /// Whose answer is to be sent, unless there is one.
    pub(super) fn answers(&self) -> Option<u32> {
        self.take(ANSWERED)
    }

    fn cancels(&self) -> bool {
        self.take(CANCELLED).is_some()
    }

    fn is_cancelled(&self) -> bool {
        self.state.load(Ordering::Acquire) == CANCELLED
    }

    /// Runs the function of this call. Whether its `Done` sees to the answer: not if it
    /// says so, nor if the `Done` was lost to a panic which the function caught itself. An
    /// error is its panic.
    pub(super) fn run(self: &Arc<Ticket>, function: impl FnOnce() -> bool) -> Result<bool, Failed> {
        INSIDE.set(Arc::as_ptr(self));
        LEFT.set(false);
        let result = catch_unwind(AssertUnwindSafe(function));
        INSIDE.set(std::ptr::null());
        result.map(|answers| answers && !LEFT.get()).map_err(|payload| panics::taken(&*payload))
    }
}

/// A call that somebody works on.
pub(super) struct Open {
    ticket: Arc<Ticket>,
    calls: Arc<Calls>,
}

impl Open {
    fn answers(&self) -> Option<u32> {
        self.ticket.answers()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.calls.pooled && self.ticket.is_cancelled() {
            self.calls.output.fail(self.ticket.call, &Failed::Cancelled);
        }
        self.calls.closed();
    }
}

/// How many calls are worked on, and who wants to know when there are fewer.
pub(super) struct Calls {
    output: Arc<Output>,
    /// A pool gives this worker as many calls as may be open: that one was cancelled is
    /// answered when it is over here.
    pooled: bool,
    count: Mutex<Count>,
    bell: EventFd,
}

struct Count {
    open: usize,
    /// The bell is to be rung when no more than these are open.
    ring_at: Option<usize>,
}

impl Calls {
    pub(super) fn new(output: Arc<Output>, pooled: bool) -> nix::Result<Arc<Calls>> {
        use nix::sys::eventfd::EfdFlags;
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let count = Mutex::new(Count { open: 0, ring_at: None });
        Ok(Arc::new(Calls { output, pooled, count, bell }))
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn open(&self) -> usize {
        self.lock().open
    }

    pub(super) fn begin(self: &Arc<Calls>, ticket: &Arc<Ticket>) -> Open {
        self.lock().open += 1;
        Open { ticket: Arc::clone(ticket), calls: Arc::clone(self) }
    }

    /// The parent does not wait for this one any more.
    pub(super) fn cancel(&self, ticket: &Ticket) {
        if ticket.cancels() && !self.pooled {
            self.output.fail(ticket.call, &Failed::Cancelled);
        }
    }

    fn closed(&self) {
        let mut count = self.lock();
        count.open -= 1;
        if count.ring_at.is_some_and(|at| count.open <= at) {
            count.ring_at = None;
            // It only fails where it has been rung very often.
            let _ = self.bell.write(1);
        }
    }

    /// Has the bell rung as soon as no more than so many are open; false if that is so
    /// already.
    pub(super) fn ring_at(&self, open: usize) -> bool {
        let mut count = self.lock();
        let later = count.open > open;
        count.ring_at = later.then_some(open);
        later
    }

    /// Becomes readable when it rings.
    pub(super) fn bell(&self) -> &EventFd {
        &self.bell
    }
}
