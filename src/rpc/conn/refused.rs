//! What to do while descriptors of calls are not taken; see `refusal.rs`.

use std::sync::MutexGuard;
use std::time::Instant;

use super::super::outbox::Chunk;
use super::super::refusal::Refusal;
use super::{Conn, State};
use crate::error::Fault;

impl Conn {
    /// Puts back what is not to be sent now. `None` if it is tried again later; else it
    /// was given up, and what follows is to be sent.
    pub(super) fn refused<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        chunk: Chunk,
    ) -> Option<MutexGuard<'a, State>> {
        state.writing = false;
        state.blocked = false;
        state.outbox.put_back(chunk);
        let now = Instant::now();
        let (mut refusal, again) = state.refusal.take().unwrap_or((Refusal::default(), now));
        if again > now {
            // The hub will.
            state.refusal = Some((refusal, again));
            return None;
        }
        if let Some(pause) = refusal.pause(self.child.stream()) {
            let again = now + pause;
            state.refusal = Some((refusal, again));
            drop(state);
            if self.set_timer(again).is_ok() {
                return None;
            }
            // Nobody would try again.
            state = self.state();
        }
        Some(self.give_refused_up(state, Fault::FdsRefused { what: "the call" }))
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
        if let Some(slot) = entry.slot {
            slot.fail(fault);
        }
        // Whoever reads may be the one who waits for it.
        self.bell.ring();
        self.state()
    }
}
