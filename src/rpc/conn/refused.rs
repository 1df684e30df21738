//! What to do while descriptors of calls are not taken, or nothing is; see `refusal.rs`.

use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use super::super::outbox::Chunk;
use super::super::refusal::Refusal;
use super::inside::Inside;
use super::{Conn, State};
use crate::error::Fault;

/// Who tries again to send what was not taken.
pub(super) enum Later<'a> {
    ByTheHub,
    /// There is no hub: this thread can, after a pause.
    Here(Duration, MutexGuard<'a, State>),
    /// It was tried for long enough.
    Never(MutexGuard<'a, State>),
}

impl Conn {
    /// Puts back what is not to be sent now. `None` if it is tried again later; else it
    /// was given up, and what follows is to be sent.
    pub(super) fn refused<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        chunk: Chunk,
    ) -> Option<MutexGuard<'a, State>> {
        match self.try_later(state, chunk) {
            Later::ByTheHub => None,
            Later::Here(_, state) | Later::Never(state) => {
                Some(self.give_refused_up(state, Fault::FdsRefused { what: "the call" }))
            }
        }
    }

    /// Puts back what is not to be sent now, and has the hub try again.
    pub(super) fn try_later<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        chunk: Chunk,
    ) -> Later<'a> {
        state.writing = false;
        state.blocked = false;
        state.outbox.put_back(chunk);
        let now = Instant::now();
        let (mut refusal, again) = state.refusal.take().unwrap_or((Refusal::default(), now));
        if again > now {
            // The hub will.
            state.refusal = Some((refusal, again));
            return Later::ByTheHub;
        }
        let Some(pause) = refusal.pause(self.child.stream()) else {
            return Later::Never(state);
        };
        let again = now + pause;
        state.refusal = Some((refusal, again));
        drop(state);
        if self.set_timer(again).is_ok() {
            return Later::ByTheHub;
        }
        let state = self.state();
        // Whoever sends meanwhile finds it again.
        if state.writing { Later::ByTheHub } else { Later::Here(pause, state) }
    }

    /// Nobody else sends during the pause.
    pub(super) fn pause<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        pause: Duration,
    ) -> MutexGuard<'a, State> {
        state.writing = true;
        drop(state);
        // Nothing tells when the kernel has memory, or room for descriptors, again.
        std::thread::sleep(pause);
        let mut state = self.state();
        state.writing = false;
        state
    }

    /// Does without the call whose descriptors are not taken.
    pub(super) fn give_refused_up<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        fault: Fault,
    ) -> MutexGuard<'a, State> {
        state.refusal = None;
        let call = state.outbox.refused().map_or(0, |head| head.call);
        state.outbox.drop_refused();
        let ticket = state.book.ticket(call);
        // What is not a call can be done without.
        let Some(entry) = ticket.and_then(|ticket| state.book.remove(ticket)) else {
            return state;
        };
        drop(state);
        match entry.slot {
            Some(slot) => {
                // Whoever sends may be the one who reads.
                let _inside = Inside::of(self);
                slot.fail(fault);
            }
            None => self.let_go(),
        }
        // Whoever reads may be the one who waits for it.
        self.bell.ring();
        self.state()
    }
}
