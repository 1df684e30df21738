//! Those who wait for room in a pool's queue; see `room.rs`.

use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use super::core::Core;
use super::state::State;
use crate::lead::Seat;
use crate::room::Waiter;

/// One who waits for room, until it is dropped.
pub(super) struct InLine {
    core: Arc<Core>,
    place: Option<u64>,
}

impl InLine {
    pub(super) fn new(core: &Arc<Core>) -> InLine {
        InLine { core: Arc::clone(core), place: None }
    }

    /// Will be told. What is returned is to be dropped without the lock.
    #[must_use]
    pub(super) fn wait(&mut self, state: &mut State, waiter: Waiter) -> Option<Waiter> {
        state.room.wait(&mut self.place, waiter)
    }

    /// The same; `waker` is woken at once if there is room, or will be none.
    pub(super) fn wait_or_wake(&mut self, waker: &Waker) {
        let core = Arc::clone(&self.core);
        let mut state = core.lock();
        if state.scheduler.is_closed() || state.has_room() {
            drop(state);
            waker.wake_by_ref();
        } else {
            let before = self.wait(&mut state, Waiter::Task(waker.clone()));
            drop(state);
            drop(before);
        }
    }

    /// Sleeps until it is told.
    pub(super) fn sleep(&mut self, mut state: MutexGuard<'_, State>) {
        let seat = Seat::new();
        let before = self.wait(&mut state, Waiter::Thread(Arc::clone(&seat)));
        drop(state);
        drop(before);
        seat.sleep(None);
    }

    /// Waits no more: it has what it wanted, or does not want it any more.
    pub(super) fn leave(&mut self) {
        let Some(place) = self.place.take() else { return };
        // In a fork of the program, a lock may be held by a thread that is not there.
        if !self.core.mark.is_here() {
            return;
        }
        let mut state = self.core.lock();
        let own = state.room.leave(place);
        // It may have been told in place of another.
        let told = state.tell_of_room();
        drop(state);
        drop(own);
        told.into_iter().for_each(Waiter::tell);
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.leave();
    }
}

impl State {
    /// Who is to be told, without the lock, that there is room, or will be none.
    #[must_use]
    pub(super) fn tell_of_room(&mut self) -> Vec<Waiter> {
        if self.room.is_empty() {
            Vec::new()
        } else if self.scheduler.is_closed() {
            self.room.all()
        } else if self.has_room() {
            self.room.next().into_iter().collect()
        } else {
            Vec::new()
        }
    }
}
