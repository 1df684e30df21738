//! Room for more calls, and those who wait for it.

use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use super::{Conn, State};
use crate::error::Error;
use crate::lead::Seat;

impl Conn {
    pub(super) fn has_room(&self, state: &State) -> bool {
        state.book.open() < self.max_open
            && (state.outbox.bytes() < self.max_queued || state.outbox.is_empty())
    }

    fn has_room_or_fault(&self) -> Option<()> {
        let state = self.state();
        (state.fault.is_some() || self.has_room(&state)).then_some(())
    }

    pub(super) fn wait_for_room(&self) {
        let seat = Seat::new();
        self.state().room.push(Arc::clone(&seat));
        self.wait(|| Arc::clone(&seat), None, || self.has_room_or_fault());
        self.state().room.retain(|s| !Arc::ptr_eq(s, &seat));
    }

    /// Has `waker` woken when there may be room.
    pub(in super::super) fn wake_for_room(&self, waker: &Waker) -> Result<(), Error> {
        let mut state = self.state();
        if state.fault.is_some() || self.has_room(&state) {
            drop(state);
            waker.wake_by_ref();
            return Ok(());
        }
        if !state.room_wakers.iter().any(|w| w.will_wake(waker)) {
            state.room_wakers.push(waker.clone());
        }
        drop(state);
        self.watch()
    }

    pub(super) fn tell_room(&self, mut state: MutexGuard<'_, State>) {
        if (state.room.is_empty() && state.room_wakers.is_empty()) || !self.has_room(&state) {
            return;
        }
        let (seats, wakers) = (state.room.clone(), std::mem::take(&mut state.room_wakers));
        drop(state);
        seats.iter().for_each(|s| s.ring());
        wakers.into_iter().for_each(Waker::wake);
    }
}
