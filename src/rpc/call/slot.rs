//! Where the result of a call arrives, and who is told.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use crossbeam_channel::Sender;

use super::super::codec::{Body, CodecError, decode_unharmed};
use super::super::fd;
use super::super::handlers::quietly;
use crate::error::{Error, Fault};
use crate::lead::Seat;

/// Where a result arrives.
pub(crate) struct Slot<R> {
    state: Mutex<State<R>>,
    /// It has been told, and may have been taken since. Set with the state locked; whoever
    /// only looks whether it is there need not lock.
    told: AtomicBool,
    /// Nobody waits for it any more.
    dropped: AtomicBool,
    decode: fn(&Body<'_>) -> Result<R, CodecError>,
}

struct State<R> {
    outcome: Option<Result<R, Error>>,
    seat: Option<Arc<Seat>>,
    waker: Option<Waker>,
    channel: Option<Sender<Result<R, Error>>>,
}

/// A slot of whatever type.
pub(crate) trait Complete: Send + Sync {
    fn reply(&self, body: &Body<'_>, fds: Vec<OwnedFd>);
    fn fail(&self, fault: Fault);
    /// It fails, while its worker has it still, which is told about that next.
    fn give_up(&self, fault: Fault) {
        self.fail(fault);
    }
}

impl<R> Slot<R> {
    pub(crate) fn new(decode: fn(&Body<'_>) -> Result<R, CodecError>) -> Arc<Slot<R>> {
        let state = State { outcome: None, seat: None, waker: None, channel: None };
        let (told, dropped) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Slot { state: Mutex::new(state), told, dropped, decode })
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Whether it has come, or why it never will.
    pub(super) fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// What has come, once; an error from then on.
    #[inline]
    pub(super) fn take(&self) -> Option<Result<R, Error>> {
        self.is_told().then(|| self.take_told())
    }

    fn take_told(&self) -> Result<R, Error> {
        self.lock().outcome.take().unwrap_or_else(|| Err(Fault::Taken.into()))
    }

    /// A seat that is rung when it comes.
    pub(super) fn sit(&self) -> Arc<Seat> {
        let seat = Seat::new();
        self.lock().seat = Some(Arc::clone(&seat));
        seat
    }

    /// Has whoever waits look again where the call is.
    pub(crate) fn poke(&self) {
        let seat = self.lock().seat.clone();
        if let Some(seat) = seat {
            seat.ring();
        }
    }

    /// Wakes `waker` when it comes. Whether it had not come before.
    pub(super) fn wake(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if self.is_told() {
            return false;
        }
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        true
    }

    /// Sends it when it comes, or at once. Whether it had not come before.
    pub(super) fn send_to(&self, sender: Sender<Result<R, Error>>) -> bool {
        let mut state = self.lock();
        if self.is_told() {
            let known = state.outcome.take().unwrap_or_else(|| Err(Fault::Taken.into()));
            let _ = sender.try_send(known);
            return false;
        }
        state.channel = Some(sender);
        true
    }

    /// The call's handle is gone: what comes is thrown away, unless it is for a channel.
    pub(super) fn let_go(&self) -> LetGo {
        let mut state = self.lock();
        state.waker = None;
        if self.is_told() {
            LetGo::Told
        } else if state.channel.is_some() {
            LetGo::Wanted
        } else {
            self.dropped.store(true, Ordering::Relaxed);
            LetGo::Abandoned
        }
    }

    pub(crate) fn tell(&self, outcome: Result<R, Error>) {
        let mut state = self.lock();
        if self.is_told() {
            drop(state);
            // The drop of a result is the user's code.
            quietly(|| drop(outcome));
            return;
        }
        let (seat, waker, channel) = (state.seat.take(), state.waker.take(), state.channel.take());
        let mut outcome = Some(outcome);
        if channel.is_none() && !self.dropped.load(Ordering::Relaxed) {
            state.outcome = outcome.take();
        }
        self.told.store(true, Ordering::Release);
        drop(state);
        if let Some(outcome) = outcome {
            // Room for one, and this is the only one; the receiver may be gone.
            quietly(move || drop(channel.map(|channel| channel.try_send(outcome))));
        }
        if let Some(seat) = seat {
            seat.ring();
        }
        if let Some(waker) = waker {
            quietly(|| waker.wake());
        }
    }
}

/// What is left to do for a call of which the handle was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LetGo {
    /// It is known how it ended.
    Told,
    /// A channel still waits for it.
    Wanted,
    /// Nobody does.
    Abandoned,
}

impl<R: Send> Complete for Slot<R> {
    fn reply(&self, body: &Body<'_>, fds: Vec<OwnedFd>) {
        if self.dropped.load(Ordering::Relaxed) {
            return;
        }
        self.tell(decoded(self.decode, body, fds));
    }

    fn fail(&self, fault: Fault) {
        self.tell(Err(fault.into()));
    }
}

/// A callback, in place of a slot.
pub(crate) struct Then<R> {
    then: Mutex<Option<OnResult<R>>>,
    decode: fn(&Body<'_>) -> Result<R, CodecError>,
}

pub(crate) type OnResult<R> = Box<dyn FnOnce(Result<R, Error>) + Send>;

impl<R> Then<R> {
    pub(crate) fn new(
        decode: fn(&Body<'_>) -> Result<R, CodecError>,
        then: OnResult<R>,
    ) -> Arc<Then<R>> {
        Arc::new(Then { then: Mutex::new(Some(then)), decode })
    }

    pub(crate) fn tell(&self, outcome: Result<R, Error>) {
        let then = self.then.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(then) = then {
            quietly(|| then(outcome));
        }
    }
}

impl<R: Send> Complete for Then<R> {
    fn reply(&self, body: &Body<'_>, fds: Vec<OwnedFd>) {
        self.tell(decoded(self.decode, body, fds));
    }

    fn fail(&self, fault: Fault) {
        self.tell(Err(fault.into()));
    }
}

/// The user's code: a panic of it is the trouble of this call alone.
pub(crate) fn decoded<R>(
    decode: fn(&Body<'_>) -> Result<R, CodecError>,
    body: &Body<'_>,
    fds: Vec<OwnedFd>,
) -> Result<R, Error> {
    let decoded = fd::provide(fds, || decode_unharmed(decode, body));
    decoded.map_err(|e| Fault::Codec { what: "the result", why: e.to_string().into() }.into())
}
