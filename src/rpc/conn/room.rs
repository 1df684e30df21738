//! Room for more calls, and those who wait for it; see `room.rs` of the library.

use std::sync::{Arc, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use super::inside::Inside;
use super::{Conn, State};
use crate::error::Error;
use crate::lead::Seat;
use crate::room::{LOOKS_WITHIN, Waiter};

impl Conn {
    pub(super) fn has_room(&self, state: &State) -> bool {
        state.book.open() < self.max_open
            && (state.outbox.bytes() < self.max_queued || state.outbox.is_empty())
    }

    pub(super) fn wait_for_room(&self, line: &mut AwaitsRoom<'_>) {
        let seat = Seat::new();
        let room_or_waits = || {
            let mut state = self.state();
            if state.fault.is_some() || self.has_room(&state) {
                return Some(());
            }
            // Again, if somebody else was quicker than this thread.
            state.room.wait(&mut line.place, Waiter::Thread(Arc::clone(&seat)));
            None
        };
        self.wait_for(true, || Arc::clone(&seat), None, room_or_waits);
    }

    /// Has those told who wait for room, if there is some.
    pub(super) fn tell_room(&self, mut state: MutexGuard<'_, State>) {
        if state.room.is_empty() {
            return;
        }
        let told = if state.fault.is_some() {
            state.room.all()
        } else if self.has_room(&state) {
            state.room.next().into_iter().collect()
        } else {
            return;
        };
        // Threads look at once.
        let may_not_look = told.iter().any(|w| !w.is_thread()) && !state.room.is_empty();
        let ask = may_not_look && !std::mem::replace(&mut state.room_asked, true);
        drop(state);
        let unasked = ask && self.set_timer(Instant::now() + LOOKS_WITHIN).is_err();
        self.tell_all(told);
        if unasked {
            let others = {
                let mut state = self.state();
                state.room_asked = false;
                state.room.all()
            };
            self.tell_all(others);
        }
    }

    /// Wakers are the user's code.
    pub(super) fn tell_all(&self, told: Vec<Waiter>) {
        let (threads, tasks): (Vec<_>, Vec<_>) = told.into_iter().partition(Waiter::is_thread);
        if !threads.is_empty() {
            threads.into_iter().for_each(Waiter::tell);
            self.bell.ring();
        }
        let _inside = (!tasks.is_empty()).then(|| Inside::of(self));
        tasks.into_iter().for_each(Waiter::tell);
    }
}

/// One who waits for room, until it is dropped.
pub(in super::super) struct AwaitsRoom<'a> {
    conn: &'a Conn,
    place: Option<u64>,
}

impl AwaitsRoom<'_> {
    pub(in super::super) fn new(conn: &Conn) -> AwaitsRoom<'_> {
        AwaitsRoom { conn, place: None }
    }

    /// Has `waker` woken, instead of another before, when there may be room.
    pub(in super::super) fn wake(&mut self, waker: &Waker) -> Result<(), Error> {
        let mut state = self.conn.state();
        if state.fault.is_some() || self.conn.has_room(&state) {
            drop(state);
            waker.wake_by_ref();
            return Ok(());
        }
        let before = state.room.wait(&mut self.place, Waiter::Task(waker.clone()));
        drop(state);
        drop(before);
        self.conn.watch()
    }
}

impl Drop for AwaitsRoom<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        if !self.conn.is_ours() {
            return;
        }
        let mut state = self.conn.state();
        let own = state.room.leave(place);
        // It may have been told in place of another.
        self.conn.tell_room(state);
        drop(own);
    }
}
