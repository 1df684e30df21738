//! Workers that are lost: known to be dying, then gone.

use std::time::Instant;

use super::member::Phase;
use super::{Action, Scheduler, Stage, WorkerId};

impl<J> Scheduler<J> {
    /// It is dying: it takes no more jobs, and is not told to finish. `gone` follows.
    pub(crate) fn down(&mut self, worker: WorkerId, now: Instant) {
        self.fall(worker, now, false);
    }

    /// The same, of one that could not be made for want of something that may be there
    /// later. That breaks no pool: jobs fail, but those to come are tried again.
    pub(crate) fn short(&mut self, worker: WorkerId, now: Instant) {
        self.fall(worker, now, true);
    }

    fn fall(&mut self, worker: WorkerId, now: Instant, may_pass: bool) {
        let now = self.at(now);
        let Some(index) = self.roster.find(worker) else { return };
        self.lose(index, now, may_pass);
        if self.roster.get(index).phase != Phase::Finishing {
            self.leave(index, Phase::Down);
            self.roster.count_away(index);
        }
        self.settle(now);
    }

    /// The process has ended, or could not be made. What jobs it had are over; those that
    /// are not have been put back before.
    pub(crate) fn gone(&mut self, worker: WorkerId, now: Instant) {
        let now = self.at(now);
        let Some(index) = self.roster.find(worker) else { return };
        self.lose(index, now, false);
        self.leave(index, Phase::Down);
        self.take_back(worker);
        self.roster.remove(index);
        if self.setbacks.take_short(&self.rules.restart) && self.roster.takers() == 0 {
            self.fail_queued();
        }
        self.settle(now);
    }

    /// What has been decided about one that is gone, and not been carried out, is not: nobody
    /// is there any more to whom it could be done.
    fn take_back(&mut self, worker: WorkerId) {
        if self.actions.is_empty() {
            return;
        }
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Send { worker: whom, key, job } if whom == worker => self.requeue(key, job),
                Action::Start(whom) | Action::Finish(whom) if whom == worker => {}
                other => self.actions.push(other),
            }
        }
    }

    /// A worker is lost, if this is how it becomes known.
    fn lose(&mut self, index: u32, now: Instant, may_pass: bool) {
        if self.roster.get(index).ready {
            self.note_idler(index, now);
        }
        let member = self.roster.get_mut(index);
        // One that fails is tried again like one that dies: at once, after the pause.
        self.owed += usize::from(member.phase == Phase::Taking);
        let failed = !member.ready && !member.blamed && member.phase != Phase::Finishing;
        if failed && !matches!(self.stage, Stage::Stopped | Stage::Over) {
            member.blamed = true;
            match may_pass {
                true => self.setbacks.short(now, &self.rules.restart),
                false => self.setbacks.failed(now, &self.rules.restart),
            }
        }
    }

    /// Whether a worker is of no use if so many of its jobs never end: it has no others, and
    /// has no room for any, or gets none.
    pub(crate) fn is_stuck_with(&self, worker: WorkerId, jobs: usize) -> bool {
        let Some(index) = self.roster.find(worker) else { return false };
        let member = self.roster.get(index);
        let gets_more = match member.phase {
            Phase::Taking => jobs < self.rules.load && !(self.is_closed() && self.queue.is_empty()),
            Phase::Leaving => false,
            Phase::Vacant | Phase::Finishing | Phase::Down => return false,
        };
        !gets_more && member.load as usize == jobs
    }

    /// One leaves by itself that could have worked: if it has done nothing, the next may do
    /// the same, again and again.
    pub(super) fn note_idler(&mut self, index: u32, now: Instant) {
        let member = self.roster.get(index);
        if member.phase == Phase::Taking && !member.worked && member.load == 0 {
            self.setbacks.idled(now, &self.rules.restart);
        }
    }

    /// The same of one whose turn has come to be recycled, if that was soon: what lives as
    /// long as the longest pause needs none.
    pub(super) fn note_young(&mut self, index: u32, now: Instant) {
        let member = self.roster.get(index);
        let age = now.saturating_duration_since(member.since);
        if member.ready && age < self.rules.restart.backoff_max {
            self.note_idler(index, now);
        }
    }
}
