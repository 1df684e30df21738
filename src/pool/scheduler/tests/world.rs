//! A world around a scheduler: it knows where every job is and what every worker does, and
//! does not believe a single action.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::pool::scheduler::{Action, JobKey, Rules, Scheduler, Stage, WorkerId};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Queued,
    On(WorkerId),
    Over,
}

#[derive(Default)]
pub(super) struct Worker {
    pub(super) jobs: Vec<usize>,
    /// Jobs beyond those, which were broadcast.
    pub(super) extra: usize,
    pub(super) ready: bool,
    /// It has been told to end.
    pub(super) finished: bool,
    /// It has asked to be retired, or is dying: nobody's turn was waited for.
    pub(super) excused: bool,
    /// When it was last used, by count.
    pub(super) used: u64,
}

impl Worker {
    pub(super) fn load(&self) -> usize {
        self.jobs.len() + self.extra
    }
}

pub(super) struct World {
    pub(super) pool: Scheduler<usize>,
    epoch: Instant,
    pub(super) now: Duration,
    pub(super) jobs: Vec<(Option<JobKey>, Place)>,
    pub(super) queue: BTreeSet<JobKey>,
    pub(super) workers: BTreeMap<(u32, u32), Worker>,
    /// Those that are gone.
    pub(super) past: Vec<WorkerId>,
    pub(super) spares_on_their_way: usize,
    drained: usize,
    /// One could not be made; and that is gone now.
    pub(super) was_short: bool,
    is_short: bool,
    uses: u64,
    /// Who was used more recently is not known of all.
    pub(super) shuffled: bool,
}

impl World {
    pub(super) fn new(rules: Rules, seed: u64) -> World {
        World {
            pool: Scheduler::new(rules, seed),
            epoch: Instant::now(),
            now: Duration::ZERO,
            jobs: Vec::new(),
            queue: BTreeSet::new(),
            workers: BTreeMap::new(),
            past: Vec::new(),
            spares_on_their_way: 0,
            drained: 0,
            was_short: false,
            is_short: false,
            uses: 0,
            shuffled: false,
        }
    }

    pub(super) fn time(&self) -> Instant {
        self.epoch + self.now
    }

    pub(super) fn worker(&mut self, id: WorkerId) -> &mut Worker {
        self.workers.get_mut(&key(id)).expect("a worker that is there")
    }

    pub(super) fn use_now(&mut self, id: WorkerId) {
        self.uses += 1;
        self.worker(id).used = self.uses;
    }

    pub(super) fn push(&mut self, priority: i32) {
        let job = self.jobs.len();
        let had_room = self.pool.has_room();
        let best = self.best();
        match self.pool.push(job, priority, self.time()) {
            Ok(key) => {
                assert!(had_room, "taken without room");
                self.jobs.push((Some(key), Place::Queued));
                self.queue.insert(key);
                let first = self.pool.actions.first();
                if let (Some(best), Some(Action::Send { worker, .. })) = (best, first) {
                    assert_eq!(*worker, best, "not the best one for job {job}");
                }
            }
            Err(refused) => {
                assert!(!had_room, "refused with room: {:?}", refused.why);
                self.jobs.push((None, Place::Over));
            }
        }
        self.carry_out();
    }

    /// Who is the next to get a job, if somebody has room.
    fn best(&self) -> Option<WorkerId> {
        if self.shuffled || self.pool.is_closed() {
            return None;
        }
        let takers = self.pool.takers().into_iter();
        let rank = |id: &WorkerId| {
            let worker = &self.workers[&key(*id)];
            let fresh = worker.load() == 0 && !worker.ready;
            // Of those that are starting the first will be ready first.
            (worker.load(), fresh, if fresh { worker.used } else { u64::MAX - worker.used })
        };
        let room = |id: &WorkerId| self.workers[&key(*id)].load() < self.pool.rules().load;
        takers.filter(room).min_by_key(rank)
    }

    /// The job goes back, then its worker is told to be rid of it.
    pub(super) fn put_back(&mut self, worker: WorkerId, job: usize) {
        self.worker(worker).jobs.retain(|other| *other != job);
        let key = self.jobs[job].0.expect("it was taken");
        self.jobs[job].1 = Place::Queued;
        self.queue.insert(key);
        self.pool.put_back(key, job, self.time());
        // It still counts there until `done`.
        self.worker(worker).extra += 1;
        self.carry_out();
        self.worker(worker).extra -= 1;
        self.use_now(worker);
        self.pool.done(worker, self.time());
        self.carry_out();
    }

    pub(super) fn done(&mut self, id: WorkerId) {
        let worker = self.worker(id);
        if worker.extra > 0 {
            worker.extra -= 1;
            self.use_now(id);
        } else if !worker.jobs.is_empty() {
            let job = worker.jobs.remove(0);
            self.jobs[job].1 = Place::Over;
            self.use_now(id);
        }
        // Otherwise it is a lie.
        self.pool.done(id, self.time());
        self.carry_out();
    }

    pub(super) fn ready(&mut self, id: WorkerId) {
        let worker = self.worker(id);
        let news = !std::mem::replace(&mut worker.ready, true);
        if news && worker.load() == 0 {
            self.use_now(id);
        }
        self.pool.ready(id, self.time());
        self.carry_out();
    }

    pub(super) fn gone(&mut self, id: WorkerId) {
        let worker = self.workers.remove(&key(id)).expect("a worker that is there");
        for job in worker.jobs {
            self.jobs[job].1 = Place::Over;
        }
        self.past.push(id);
        self.pool.gone(id, self.time());
        self.is_short = std::mem::take(&mut self.was_short);
        self.carry_out();
        self.is_short = false;
    }

    pub(super) fn cancel(&mut self, job: usize) {
        let (Some(key), place) = self.jobs[job] else { return };
        let cancelled = self.pool.cancel(key);
        assert_eq!(cancelled.is_some(), place == Place::Queued);
        if cancelled.is_some() {
            assert_eq!(cancelled, Some(job));
            self.jobs[job].1 = Place::Over;
            self.queue.remove(&key);
        }
        self.carry_out();
    }

    pub(super) fn stop(&mut self) {
        let unsent = self.pool.stop(self.time());
        assert_eq!(unsent.iter().map(|(key, _)| *key).collect::<BTreeSet<_>>(), self.queue);
        for (_, job) in unsent {
            self.jobs[job].1 = Place::Over;
        }
        self.queue.clear();
        self.carry_out();
    }

    pub(super) fn tick(&mut self) {
        self.pool.tick(self.time());
        self.carry_out();
    }

    /// On to the next tick; false if there is none.
    pub(super) fn tick_next(&mut self) -> bool {
        let Some(at) = self.pool.next_tick() else { return false };
        self.now = self.now.max(at.duration_since(self.epoch));
        self.tick();
        true
    }

    pub(super) fn carry_out(&mut self) {
        let mut actions = Vec::new();
        self.pool.take_actions(&mut actions);
        for action in actions {
            self.carry_out_one(action);
        }
        self.check();
    }

    fn carry_out_one(&mut self, action: Action<usize>) {
        assert_eq!(self.drained, 0, "{action:?} after the end");
        match action {
            Action::Start(id) => {
                assert_ne!(self.pool.stage, Stage::Stopped);
                self.uses += 1;
                let new = Worker { used: self.uses, ..Worker::default() };
                assert!(self.workers.insert(key(id), new).is_none(), "started twice");
            }
            Action::Send { worker: id, key, job } => {
                assert_eq!(self.queue.pop_first(), Some(key), "not the first in the queue");
                assert_eq!(self.jobs[job], (Some(key), Place::Queued));
                self.jobs[job].1 = Place::On(id);
                let load = self.pool.rules().load;
                let worker = self.worker(id);
                assert!(!worker.finished && !worker.excused, "sent to one that takes none");
                assert!(worker.load() < load, "sent to one that is full");
                worker.jobs.push(job);
                self.use_now(id);
            }
            Action::Finish(id) => {
                let worker = self.worker(id);
                assert_eq!(worker.load(), 0, "ended with jobs");
                assert!(!std::mem::replace(&mut worker.finished, true), "ended twice");
            }
            Action::Fail { key, job } => {
                assert!(self.pool.is_broken() || self.pool.stage != Stage::Open || self.is_short);
                assert_eq!(self.queue.pop_first(), Some(key));
                assert_eq!(self.jobs[job], (Some(key), Place::Queued));
                self.jobs[job].1 = Place::Over;
            }
            Action::Spare => self.spares_on_their_way += 1,
            Action::Drained => {
                self.drained += 1;
                assert!(self.workers.is_empty() && self.queue.is_empty());
                assert_eq!(self.spares_on_their_way, 0);
            }
        }
    }

    pub(super) fn drained(&self) -> usize {
        self.drained
    }
}

pub(super) fn id_of((index, generation): (u32, u32)) -> WorkerId {
    WorkerId { index, generation }
}

fn key(id: WorkerId) -> (u32, u32) {
    (id.index, id.generation)
}
