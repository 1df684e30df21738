//! What can happen.

use std::cmp::Reverse;
use std::time::Instant;

use super::member::Phase;
use super::{Action, JobKey, Refusal, Refused, Rules, Scheduler, Stage, Why, WorkerId};

impl<J> Scheduler<J> {
    /// A job. It is sent at once if a worker has room for it, else queued. Higher
    /// priorities come first.
    pub(crate) fn push(
        &mut self,
        job: J,
        priority: i32,
        now: Instant,
    ) -> Result<JobKey, Refused<J>> {
        let now = self.at(now);
        if self.is_closed() {
            let why = if self.broken { Refusal::Broken } else { Refusal::Draining };
            return Err(Refused { job, why });
        }
        // Whoever has room has it because nothing is queued.
        if !self.roster.has_room() && self.queue.len() >= self.rules.queue_limit {
            // Where nothing may be queued, this is how it shows that workers are wanted.
            self.pressed = true;
            self.settle(now);
            if !self.roster.has_room() {
                return Err(Refused { job, why: Refusal::Full });
            }
        }
        let key = JobKey { priority: Reverse(priority), serial: self.serial };
        self.serial += 1;
        match self.roster.first() {
            Some(index) => self.give(index, key, job),
            None => {
                self.queue.insert(key, job);
            }
        }
        self.settle(now);
        Ok(key)
    }

    /// A job that was sent, and certainly was not started, goes back to its place. What
    /// it was sent to is told apart, by `done`, `down` or `gone`: better `down` before
    /// this, and `done` or `gone` after it.
    pub(crate) fn put_back(&mut self, key: JobKey, job: J, now: Instant) {
        let now = self.at(now);
        self.requeue(key, job);
        self.settle(now);
    }

    /// Back to its place, if there is still somebody to come who takes it from there.
    pub(super) fn requeue(&mut self, key: JobKey, job: J) {
        if self.broken || matches!(self.stage, Stage::Stopped | Stage::Over) {
            self.actions.push(Action::Fail { key, job });
        } else {
            self.queue.insert(key, job);
        }
    }

    /// Hands out a job that is still queued.
    pub(crate) fn cancel(&mut self, key: JobKey) -> Option<J> {
        let job = self.queue.remove(&key)?;
        self.settle_again();
        Some(job)
    }

    /// One more job for this worker, even if it is full; false if it takes no jobs.
    pub(crate) fn add_load(&mut self, worker: WorkerId) -> bool {
        let Some(index) = self.taker(worker) else { return false };
        if matches!(self.stage, Stage::Stopped | Stage::Over) {
            return false;
        }
        self.roster.load(index);
        self.count_job(index);
        self.settle_again();
        true
    }

    /// A job of this worker is over, however.
    pub(crate) fn done(&mut self, worker: WorkerId, now: Instant) {
        let now = self.at(now);
        let Some(index) = self.roster.find(worker) else { return };
        if self.roster.get(index).load == 0 {
            return;
        }
        self.roster.unload(index, now);
        let member = self.roster.get_mut(index);
        if member.phase != Phase::Down && !std::mem::replace(&mut member.worked, true) {
            self.setbacks.worked();
        }
        let member = self.roster.get(index);
        if member.phase == Phase::Leaving && member.load == 0 {
            self.finish(index);
        }
        self.settle(now);
    }

    /// Its init function has returned.
    pub(crate) fn ready(&mut self, worker: WorkerId, now: Instant) {
        let now = self.at(now);
        let Some(index) = self.roster.find(worker) else { return };
        if self.roster.get(index).ready {
            return;
        }
        self.roster.ready(index, now);
        self.begin_age(index, now);
        self.setbacks.started();
        self.spares.end_trouble();
        // One that was still starting when the others had failed shows that it can be done.
        self.broken = false;
        self.settle(now);
    }

    /// This worker is to be recycled: when its turn comes, or at once if it says so itself.
    pub(crate) fn retire(&mut self, worker: WorkerId, now: Instant, why: Why) {
        let now = self.at(now);
        let Some(index) = self.taker(worker) else { return };
        match why {
            Why::Asked => {
                self.note_idler(index, now);
                self.owed += 1;
                self.retire_now(index);
            }
            Why::Memory => self.wish(index),
        }
        self.settle(now);
    }

    /// A spare has been made.
    pub(crate) fn spare_made(&mut self) {
        self.spares.arrived();
        self.settle_again();
    }

    /// A spare could not be made, or has died.
    pub(crate) fn spare_lost(&mut self, now: Instant) {
        let now = self.at(now);
        self.spares.lost();
        if !self.is_closed() {
            self.spares.pause(now, &self.rules.restart);
        }
        self.settle(now);
    }

    /// In a fork of the program: of the spares that were asked for, only so many are still to
    /// be made. The others were being made by a thread that is not there.
    pub(crate) fn spares_to_come(&mut self, left: usize) {
        while self.spares.on_their_way() > left {
            self.spares.lost();
        }
    }

    /// A spare has become a worker.
    pub(crate) fn spare_used(&mut self, now: Instant) {
        let now = self.at(now);
        self.spares.used();
        self.settle(now);
    }

    pub(crate) fn resize(&mut self, max: usize, now: Instant) {
        self.change(now, |rules| rules.max = max);
    }

    #[cfg(test)]
    pub(crate) fn set_idle(&mut self, idle: usize, now: Instant) {
        self.change(now, |rules| rules.idle = idle);
    }

    /// Other rules, from now on.
    pub(crate) fn change(&mut self, now: Instant, with: impl FnOnce(&mut Rules)) {
        let now = self.at(now);
        with(&mut self.rules);
        self.roster.set_load(self.rules.load);
        // What was waited for may have been another time.
        self.start_at = None;
        self.settle(now);
    }

    /// Every worker that there is now is recycled, in turn: the next one when the last one's
    /// successor is ready, so that one that does not get ready stops it all. A broken
    /// pool is tried again.
    pub(crate) fn reload(&mut self, now: Instant) {
        let now = self.at(now);
        self.wish_for_all();
        self.setbacks.forget();
        self.spares.end_trouble();
        if std::mem::take(&mut self.broken) {
            let idle = self.roster.idle() + self.roster.fresh();
            self.owed = self.rules.idle.saturating_sub(idle);
        }
        self.settle(now);
    }

    /// No more jobs are taken. What is queued is done, then the workers end.
    pub(crate) fn drain(&mut self, now: Instant) {
        let now = self.at(now);
        if self.stage == Stage::Open {
            self.stage = Stage::Draining;
            self.spares.cancel_due();
        }
        self.settle(now);
    }

    /// Nothing more is started or sent. Returns the jobs that were not; the workers are
    /// to be killed, all of them.
    pub(crate) fn stop(&mut self, now: Instant) -> Vec<(JobKey, J)> {
        let now = self.at(now);
        let mut unsent: Vec<_> = std::mem::take(&mut self.queue).into_iter().collect();
        if self.stage != Stage::Over {
            self.stage = Stage::Stopped;
            self.spares.cancel_due();
            // What has been decided, and not been carried out, is not.
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Send { worker, key, job } => {
                        unsent.push((key, job));
                        if let Some(index) = self.roster.find(worker) {
                            self.roster.unload(index, now);
                        }
                    }
                    Action::Start(worker) => {
                        if let Some(index) = self.roster.find(worker) {
                            self.leave(index, Phase::Down);
                            self.roster.remove(index);
                        }
                    }
                    // One that never was does not end either.
                    Action::Finish(worker) if self.roster.find(worker).is_none() => {}
                    other => self.actions.push(other),
                }
            }
            unsent.sort_unstable_by_key(|(key, _)| *key);
        }
        self.settle(now);
        unsent
    }

    /// Time has come.
    pub(crate) fn tick(&mut self, now: Instant) {
        let now = self.at(now);
        self.settle(now);
    }

    /// Several threads tell what time it is, each as it saw it.
    pub(super) fn at(&mut self, now: Instant) -> Instant {
        let now = self.clock.map_or(now, |latest| latest.max(now));
        self.clock = Some(now);
        now
    }

    /// After what nobody said the time of.
    fn settle_again(&mut self) {
        if let Some(latest) = self.clock {
            self.settle(latest);
        }
    }

    fn taker(&self, worker: WorkerId) -> Option<u32> {
        let index = self.roster.find(worker)?;
        (self.roster.get(index).phase == Phase::Taking).then_some(index)
    }
}
