//! Room for more calls, and those who wait for it.

use std::sync::{Arc, MutexGuard};
use std::task::Waker;

use super::super::handlers::quietly;
use super::inside::Inside;
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
        self.wait_for(true, || Arc::clone(&seat), None, || self.has_room_or_fault());
        self.state().room.retain(|s| !Arc::ptr_eq(s, &seat));
    }

    /// Has `waker` woken, instead of another of this `key`, when there may be room.
    pub(in super::super) fn wake_for_room(&self, key: u64, waker: &Waker) -> Result<(), Error> {
        let mut state = self.state();
        if state.fault.is_some() || self.has_room(&state) {
            drop(state);
            waker.wake_by_ref();
            return Ok(());
        }
        let known = state.room_wakers.iter_mut().find(|(k, _)| *k == key);
        let before = match known {
            Some((_, known)) => Some(std::mem::replace(known, waker.clone())),
            None => {
                state.room_wakers.push((key, waker.clone()));
                None
            }
        };
        drop(state);
        drop(before);
        self.watch()
    }

    /// Whoever has this key awaits room no more.
    pub(in super::super) fn forget_for_room(&self, key: u64) {
        if !self.is_ours() {
            return;
        }
        let mut state = self.state();
        let at = state.room_wakers.iter().position(|(k, _)| *k == key);
        let waker = at.map(|at| state.room_wakers.swap_remove(at));
        drop(state);
        drop(waker);
    }

    pub(super) fn tell_room(&self, mut state: MutexGuard<'_, State>) {
        if (state.room.is_empty() && state.room_wakers.is_empty()) || !self.has_room(&state) {
            return;
        }
        let (seats, wakers) = (state.room.clone(), std::mem::take(&mut state.room_wakers));
        drop(state);
        if !seats.is_empty() {
            seats.iter().for_each(|s| s.ring());
            self.bell.ring();
        }
        self.wake_all(wakers);
    }

    /// Wakers are the user's code.
    pub(super) fn wake_all(&self, wakers: Vec<(u64, Waker)>) {
        let _inside = (!wakers.is_empty()).then(|| Inside::of(self));
        for (_, waker) in wakers {
            quietly(|| waker.wake());
        }
    }
}
