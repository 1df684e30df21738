//! How calls and handles are let go: cancelled, timed out, dropped, finished.

use std::net::Shutdown;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::frame::{Frame, Kind};
use super::super::worker::Style;
use super::inside::Inside;
use super::look::Look;
use super::state::Stuck;
use super::{Conn, State, Ticket, Time};
use crate::error::Fault;

/// A cancelled call that waits in a synchronous worker is skipped there. But it may have
/// begun just then: so if it is the first of all open calls for as long as this, the
/// process is killed, as for any call that runs.
const SKIPS_WITHIN: Duration = Duration::from_secs(1);

impl Conn {
    /// Ends a call for its caller, and as far as possible in the worker.
    pub(crate) fn cancel(&self, ticket: Ticket, fault: Fault) {
        if !self.is_ours() {
            return;
        }
        let Some(slot) = self.state().book.get(ticket).and_then(|e| e.slot.take()) else { return };
        {
            // Before the worker learns of it: the one who waits wakes with its answer, and
            // then has to find this.
            let _inside = Inside::of(self);
            slot.give_up(fault.clone());
        }
        let mut state = self.state();
        let first = state.book.first();
        let Some(place) = state.book.get(ticket).map(|entry| entry.place) else { return };
        if state.outbox.take_out(place) {
            state.book.remove(ticket);
            let due = state.timer_to_set();
            self.tell_room(state);
            if let Some(due) = due {
                let _ = self.set_timer(due);
            }
            self.let_go();
        } else if self.style == Style::Sync && first == Some(ticket) {
            // Nobody may have read that it is done: then the worker is not to die of it.
            // (Of one out of time, that has been looked for.)
            let timed_out = matches!(fault, Fault::Timeout);
            let why = if timed_out { "a call timed out" } else { "a call was cancelled" };
            state.skipped += 1;
            state.stuck = Some(Stuck { ticket, until: Instant::now(), why });
            self.abandon(state);
            if timed_out || self.set_timer(Instant::now()).is_err() {
                self.end_stuck(Instant::now());
            }
        } else {
            state.outbox.push(Frame::plain(Kind::Cancel, ticket.call, &()));
            let looks_after = self.style == Style::Sync;
            state.skipped += usize::from(looks_after);
            if looks_after {
                self.abandon(state);
            } else {
                drop(state);
            }
            self.flush();
            if looks_after {
                // What is before it may be answered already. Without a hub, whoever
                // waits next finds out.
                let _ = self.set_timer(Instant::now());
            }
        }
    }

    /// A call that was given up is over for its worker as well.
    pub(super) fn let_go(&self) {
        if self.style == Style::Async && self.handlers.is_overseen() {
            let _inside = Inside::of(self);
            let _ = self.handlers.tell_overseer(|overseer| overseer.let_go());
        }
    }

    /// Whether an open call may be running in a synchronous worker, so that cancelling it
    /// kills the process.
    pub(crate) fn dies_with(&self, ticket: Ticket) -> bool {
        let mut state = self.state();
        if self.style != Style::Sync || state.book.first() != Some(ticket) {
            return false;
        }
        let place = state.book.get(ticket).map(|entry| entry.place);
        place.is_some_and(|place| !state.outbox.holds(place))
    }

    /// When the time of an open call is up; of one that does not run yet, no sooner than
    /// then.
    pub(crate) fn due(&self, ticket: Ticket) -> Option<Instant> {
        let mut state = self.state();
        match state.book.get(ticket)?.time {
            Time::Any => None,
            Time::Until(deadline) => Some(deadline),
            Time::Runs(limit) => match state.book.runs_until() {
                Some((until, first)) if first == ticket => Some(until),
                _ => Instant::now().checked_add(limit),
            },
        }
    }

    /// Ends a call if its time is up, and it has not been answered. False if nobody can know
    /// that yet: to be asked again, a little later.
    pub(crate) fn too_late(&self, ticket: Ticket, look: &mut Look) -> bool {
        let due = || self.due(ticket);
        if due().is_none_or(|due| due > Instant::now()) {
            return true;
        }
        let looked = self.has_looked(look, || due().is_none());
        if looked {
            self.cancel(ticket, Fault::Timeout);
        }
        looked
    }

    /// The same, of a connection whose calls all have the same time.
    pub(in super::super) fn timeout_due(&self, ticket: Ticket) -> Option<Instant> {
        self.timeout?;
        self.due(ticket)
    }

    /// A call has been answered. Whether the one that is first now has to be looked
    /// after: it was cancelled.
    pub(super) fn note_stuck(&self, state: &mut State, answered_nobody: bool) -> bool {
        if state.skipped == 0 {
            return false;
        }
        state.skipped -= usize::from(answered_nobody && state.skipped > 0);
        let Some(first) = state.book.first() else { return false };
        let cancelled = state.book.get(first).is_some_and(|e| e.slot.is_none());
        let known = state.stuck.is_some_and(|stuck| stuck.ticket == first);
        if !cancelled || known {
            return false;
        }
        let why = "a call ran on after it was cancelled, or out of time";
        state.stuck = Some(Stuck { ticket: first, until: Instant::now() + SKIPS_WITHIN, why });
        true
    }

    /// For [`note_stuck`](Conn::note_stuck).
    pub(super) fn look_after_stuck(&self) {
        let _ = self.set_timer(Instant::now() + SKIPS_WITHIN);
    }

    /// Kills the process if a cancelled call runs on; to be called when what has come has been
    /// looked at, as of `now`.
    pub(super) fn end_stuck(&self, now: Instant) {
        let mut state = self.state();
        let Some(Stuck { ticket, until, why }) = state.stuck else { return };
        if now < until || state.book.first() != Some(ticket) {
            return;
        }
        state.stuck = None;
        state.killed.get_or_insert(why);
        drop(state);
        self.child.kill_soon();
    }

    /// A call of which the handle was dropped.
    pub(in super::super) fn abandoned(&self) {
        // In a fork of the program, a lock may be held by a thread that is not there.
        if !self.is_ours() {
            return;
        }
        self.abandon(self.state());
    }

    /// Somebody has to look after a call that is open, whatever becomes of the handles.
    fn abandon(&self, mut state: MutexGuard<'_, State>) {
        state.abandoned = true;
        let orphaned = state.orphaned;
        drop(state);
        if orphaned {
            self.keep();
        }
    }

    /// No more calls: the worker may end once it has done them all.
    pub(crate) fn finish(&self) {
        if self.is_ours() {
            let mut state = self.state();
            state.finishing = true;
            if std::mem::take(&mut state.held) {
                // It was never told what it is, and ends with the stream.
                state.outbox.clear();
                state.told_finish = true;
                let _ = self.child.stream().shutdown(Shutdown::Write);
            }
            drop(state);
            self.flush();
        }
    }

    /// The `Rpc` is gone.
    pub(in super::super) fn orphaned(&self) {
        if !self.is_ours() {
            return;
        }
        self.finish();
        let unattended = {
            let mut state = self.state();
            state.orphaned = true;
            // Nobody may wait for them, and still they are to be done: the worker cannot
            // go on without somebody who reads.
            let open = state.book.open() > 0;
            state.outbox.bytes() > 0 || (state.abandoned && open)
        };
        if unattended || self.handlers.any() || self.calls_back.load(Ordering::Relaxed) {
            self.keep();
        }
    }
}
