//! The conclusions that are drawn after every event.

use std::time::Instant;

use super::member::Phase;
use super::{Action, JobKey, Scheduler, Stage};

impl<J> Scheduler<J> {
    pub(super) fn settle(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Stopped | Stage::Over) {
            return self.conclude();
        }
        self.setbacks.end_pause(now);
        self.spares.end_pause(now);
        while let Some(index) = self.wishes.take_due(now) {
            self.wish(index);
        }
        self.break_down(now);
        // A job that is handed out may be a worker's last, one that retires makes room for
        // another, and that one takes jobs.
        loop {
            self.hand_out();
            if !self.grow(now) && !self.recycle(now) {
                break;
            }
        }
        if !self.is_closed() && self.setbacks.until().max(self.spares.until()).is_none() {
            self.spares.restock(self.rules.spares);
        }
        self.shrink(now);
        // The last one that was ready may have been retired or stopped since.
        self.break_down(now);
        self.conclude();
    }

    /// Gives up after too many failed starts, if nothing is left that works.
    fn break_down(&mut self, now: Instant) {
        if !self.broken
            && self.roster.ready_takers() == 0
            && self.setbacks.too_many(now, &self.rules.restart)
        {
            self.broken = true;
            self.spares.cancel_due();
            self.fail_queued();
        }
    }

    pub(super) fn fail_queued(&mut self) {
        for (key, job) in std::mem::take(&mut self.queue) {
            self.actions.push(Action::Fail { key, job });
        }
    }

    fn hand_out(&mut self) {
        while !self.queue.is_empty() {
            let Some(index) = self.roster.first() else { break };
            let Some((key, job)) = self.queue.pop_first() else { break };
            self.give(index, key, job);
        }
    }

    pub(super) fn give(&mut self, index: u32, key: JobKey, job: J) {
        self.roster.load(index);
        self.actions.push(Action::Send { worker: self.roster.id(index), key, job });
        self.count_job(index);
    }

    pub(super) fn count_job(&mut self, index: u32) {
        let member = self.roster.get_mut(index);
        member.left = member.left.saturating_sub(1);
        if member.left == 0 {
            self.wish(index);
        }
    }

    /// This one is to be recycled when its turn comes.
    pub(super) fn wish(&mut self, index: u32) {
        let id = self.roster.id(index);
        let member = self.roster.get_mut(index);
        if !member.wished {
            member.wished = true;
            self.wishes.push(id, false);
        }
    }

    /// So are all that there are.
    pub(super) fn wish_for_all(&mut self) {
        let all: Vec<u32> = self.roster.taking().collect();
        for index in all {
            let id = self.roster.id(index);
            let member = self.roster.get_mut(index);
            if !member.ready {
                // It may never be, which would hold up the others.
                member.wished = true;
                self.wishes.push_front(id);
            } else if !member.wished {
                member.wished = true;
                self.wishes.push(id, true);
            }
        }
    }

    /// Retires one whose turn has come, or one that is more than `max`.
    fn recycle(&mut self, now: Instant) -> bool {
        if self.roster.away() >= self.rules.max_recycling() {
            return false;
        }
        while let Some(wish) = self.wishes.first() {
            // It may be gone since, or have left on its own account.
            let index = self.roster.find(wish.worker);
            let index = index.filter(|i| self.roster.get(*i).phase == Phase::Taking);
            if index.is_some() && wish.reload && self.is_trying() {
                break;
            }
            self.wishes.pop();
            if let Some(index) = index {
                if !wish.reload {
                    self.note_young(index, now);
                }
                self.owed += 1;
                self.retire_now(index);
                return true;
            }
        }
        if self.roster.takers() <= self.rules.max() {
            return false;
        }
        self.roster.last().map(|index| self.retire_now(index)).is_some()
    }

    /// Whether new workers get ready is not known yet of as many as may be away: those that
    /// work are kept until then.
    fn is_trying(&self) -> bool {
        let starting = self.roster.takers() - self.roster.ready_takers();
        starting >= self.rules.max_recycling() || self.setbacks.until().is_some()
    }

    pub(super) fn retire_now(&mut self, index: u32) {
        self.leave(index, Phase::Leaving);
        self.roster.count_away(index);
        if self.roster.get(index).load == 0 {
            self.finish(index);
        }
    }

    /// It has no jobs, and gets none any more.
    pub(super) fn finish(&mut self, index: u32) {
        self.leave(index, Phase::Finishing);
        self.actions.push(Action::Finish(self.roster.id(index)));
    }

    /// It takes no more jobs.
    pub(super) fn leave(&mut self, index: u32, phase: Phase) {
        if let Some(due) = self.roster.get_mut(index).due.take() {
            self.wishes.forget(due, index);
        }
        self.roster.leave(index, phase);
    }

    /// Starts one more worker, if one is wanted and its time has come.
    fn grow(&mut self, now: Instant) -> bool {
        let lacking = self.lacking();
        self.owed = self.owed.min(lacking);
        self.pressed &= lacking > 0 && !self.roster.has_room();
        if lacking == 0 || !self.wants_more() || self.setbacks.until().is_some() {
            self.start_at = None;
            return false;
        }
        if !self.at_once() {
            match self.start_at {
                None => {
                    self.start_at = now.checked_add(self.rules.start);
                    return false;
                }
                Some(at) if at > now => return false,
                Some(_) => {}
            }
        }
        self.start_at = None;
        self.owed = self.owed.saturating_sub(1);
        let left = self.rules.draw_jobs(&mut self.dice);
        let id = self.roster.add(now, left);
        self.actions.push(Action::Start(id));
        true
    }

    /// One has got ready. Its age counts from here: else, with a limit that is shorter than
    /// a start, none would ever do anything.
    pub(super) fn begin_age(&mut self, index: u32, now: Instant) {
        if self.roster.get(index).phase == Phase::Taking
            && let Some(due) = self.rules.draw_age(&mut self.dice, now)
        {
            self.roster.get_mut(index).due = Some(due);
            self.wishes.remember(due, index);
        }
    }

    /// How many workers there could be more.
    pub(super) fn lacking(&self) -> usize {
        self.rules.max().saturating_sub(self.roster.takers())
    }

    /// The next worker is started without delay: it is the first, or replaces another.
    pub(super) fn at_once(&self) -> bool {
        self.roster.takers() == 0 || self.owed > 0 || self.rules.start.is_zero()
    }

    /// All workers have enough to do, or fewer than `idle` have nothing to do.
    fn wants_more(&self) -> bool {
        if self.broken {
            return false;
        }
        match self.stage {
            Stage::Open => {
                !self.queue.is_empty()
                    || self.pressed
                    || self.roster.idle() + self.roster.fresh() < self.rules.idle
            }
            Stage::Draining => !self.queue.is_empty(),
            Stage::Stopped | Stage::Over => false,
        }
    }

    /// Which worker has been idle longest, if there are more than are kept, and until when
    /// it may be.
    pub(super) fn next_stop(&self) -> Option<(u32, Instant)> {
        if self.roster.idle() <= self.rules.idle {
            return None;
        }
        let index = self.roster.longest_idle()?;
        Some((index, self.roster.get(index).since.checked_add(self.rules.stop)?))
    }

    fn shrink(&mut self, now: Instant) {
        while let Some((index, at)) = self.next_stop() {
            if at > now {
                break;
            }
            self.finish(index);
            // There are more than enough: nobody misses those that were lost before.
            self.owed = 0;
        }
    }

    /// The end of a pool.
    fn conclude(&mut self) {
        if self.stage == Stage::Open || !self.queue.is_empty() {
            return;
        }
        if self.stage == Stage::Draining {
            while let Some(index) = self.roster.longest_idle().or(self.roster.last_fresh()) {
                self.finish(index);
            }
        }
        if self.stage != Stage::Over && self.roster.live() == 0 && self.spares.on_their_way() == 0 {
            self.stage = Stage::Over;
            self.spares.end();
            self.actions.push(Action::Drained);
        }
    }
}
