//! Asynchronous workers that run on with calls that were cancelled, or are out of time. A call
//! keeps its place in the worker until it is over there, or `load` would be more than the
//! worker has room for, and what is sent to it would wait for ever. One that has nothing but
//! such calls, and no room for others, is killed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::member::Member;
use super::scheduler::Why;
use super::state::State;

/// For so long calls may go on that nobody waits for, if no other can be made.
const GOES_ON: Duration = Duration::from_secs(1);

pub(super) struct Hung {
    member: Arc<Member>,
    /// Less than none, if it is known that one is over before it is known that it was given up.
    calls: isize,
    /// Since when it has nothing else, and no room.
    since: Option<Instant>,
}

impl Hung {
    fn until(&self) -> Option<Instant> {
        Some(self.since? + GOES_ON)
    }
}

impl State {
    /// One more call goes on at this worker.
    pub(super) fn runs_on(&mut self, member: &Arc<Member>) {
        self.count_hung(member, 1);
    }

    fn count_hung(&mut self, member: &Arc<Member>, more: isize) {
        if member.id().is_none_or(|id| self.member(id).is_none()) {
            return;
        }
        let known = self.hung.iter().position(|hung| Arc::ptr_eq(&hung.member, member));
        let at = known.unwrap_or_else(|| {
            self.hung.push(Hung { member: Arc::clone(member), calls: 0, since: None });
            self.hung.len() - 1
        });
        self.hung[at].calls += more;
        if self.hung[at].calls == 0 {
            self.hung.swap_remove(at);
        }
    }

    pub(super) fn forget_hung(&mut self, member: &Arc<Member>) {
        self.hung.retain(|hung| !Arc::ptr_eq(&hung.member, member));
    }

    /// Sees which of them can do nothing else; when the first has been so for too long.
    pub(super) fn look_at_hung(&mut self, now: Instant) -> Option<Instant> {
        for hung in &mut self.hung {
            let calls = usize::try_from(hung.calls).unwrap_or(0);
            let stuck = calls > 0
                && hung.member.id().is_some_and(|id| self.scheduler.is_stuck_with(id, calls));
            hung.since = stuck.then(|| hung.since.unwrap_or(now));
        }
        self.hung.iter().filter_map(Hung::until).min()
    }

    /// Those that have been so for too long.
    fn hung_too_long(&mut self, now: Instant) -> Vec<Arc<Member>> {
        self.look_at_hung(now);
        let late = |hung: &&Hung| hung.until().is_some_and(|until| until <= now);
        self.hung.iter().filter(late).map(|hung| Arc::clone(&hung.member)).collect()
    }
}

impl Core {
    /// A call that was given up is over for its worker as well.
    pub(super) fn let_go(&self, member: &Arc<Member>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.count_hung(member, -1);
        if let Some(id) = member.id() {
            state.scheduler.done(id, now);
        }
        self.carry_out(state, now);
    }

    /// Kills those that have been of no use for too long. By the hub's thread.
    pub(super) fn end_hung(&self) {
        let late = self.lock().hung_too_long(Instant::now());
        for conn in late.iter().filter_map(|member| member.conn()) {
            // What nobody has read yet is not to be held against it.
            conn.look();
        }
        if late.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        let late = state.hung_too_long(now);
        for member in &late {
            if let Some(id) = member.id() {
                // If a call is over now, the next one is not for this one.
                state.scheduler.retire(id, now, Why::Asked);
            }
            state.forget_hung(member);
        }
        self.carry_out(state, now);
        for conn in late.iter().filter_map(|member| member.conn()) {
            conn.end_now("its calls ran on after they were cancelled, or out of time");
        }
    }
}
