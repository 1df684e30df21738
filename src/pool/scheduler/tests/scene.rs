//! A pool of which every event is told by the test, and every action read by it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::pool::scheduler::{Action, JobKey, Refusal, Restart, Rules, Scheduler, Why, WorkerId};

pub(super) const NOTHING: [&str; 0] = [];

pub(super) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) fn rules() -> Rules {
    Rules {
        max: 4,
        idle: 0,
        load: 1,
        start: ms(100),
        stop: ms(10_000),
        queue_limit: usize::MAX,
        max_jobs: None,
        jitter: 0.0,
        max_age: None,
        max_recycling: 1,
        spares: 0,
        restart: Restart {
            intensity: 3,
            period: ms(10_000),
            backoff: ms(200),
            backoff_max: ms(1000),
        },
    }
}

/// Workers are known by the order in which they were started, jobs by their names, times
/// by their milliseconds. What returns a list returns the actions that were decided on.
pub(super) struct Scene {
    pub(super) pool: Scheduler<&'static str>,
    epoch: Instant,
    now: u64,
    workers: Vec<WorkerId>,
    keys: HashMap<&'static str, JobKey>,
}

impl Scene {
    pub(super) fn new(with: impl FnOnce(&mut Rules)) -> Scene {
        let mut rules = rules();
        with(&mut rules);
        Scene {
            pool: Scheduler::new(rules, 1),
            epoch: Instant::now(),
            now: 0,
            workers: Vec::new(),
            keys: HashMap::new(),
        }
    }

    /// With so many workers that are ready, of which the first has been idle longest.
    pub(super) fn ready_with(workers: usize, with: impl FnOnce(&mut Rules)) -> Scene {
        let mut scene = Scene::new(|rules| {
            rules.max = workers;
            with(rules);
        });
        let idle = scene.pool.rules().idle;
        scene.pool.set_idle(workers, scene.time());
        scene.change(|rules| rules.start = ms(0));
        for worker in 0..workers {
            scene.ready(worker);
        }
        scene.change(|rules| rules.start = ms(100));
        let acts = scene.change(|rules| rules.idle = idle);
        assert_eq!(acts, NOTHING);
        scene
    }

    pub(super) fn time(&self) -> Instant {
        self.epoch + ms(self.now)
    }

    /// From now on it is so late.
    pub(super) fn at(&mut self, ms: u64) -> &mut Scene {
        self.now = ms;
        self
    }

    pub(super) fn next_tick(&self) -> Option<u128> {
        self.pool.next_tick().map(|at| at.duration_since(self.epoch).as_millis())
    }

    pub(super) fn id(&self, worker: usize) -> WorkerId {
        self.workers[worker]
    }

    pub(super) fn key(&self, job: &str) -> JobKey {
        self.keys[job]
    }

    pub(super) fn acts(&mut self) -> Vec<String> {
        let mut actions = Vec::new();
        self.pool.take_actions(&mut actions);
        actions.into_iter().map(|action| self.tell(action)).collect()
    }

    fn tell(&mut self, action: Action<&'static str>) -> String {
        match action {
            Action::Start(worker) => {
                self.workers.push(worker);
                format!("start {}", self.workers.len() - 1)
            }
            Action::Spare => "spare".into(),
            Action::Send { worker, key, job } => {
                self.keys.insert(job, key);
                format!("{job} to {}", self.ordinal(worker))
            }
            Action::Finish(worker) => format!("finish {}", self.ordinal(worker)),
            Action::Fail { job, .. } => format!("fail {job}"),
            Action::Drained => "drained".into(),
        }
    }

    fn ordinal(&self, worker: WorkerId) -> usize {
        self.workers.iter().position(|known| *known == worker).expect("started before")
    }

    /// The workers that take jobs, in order.
    pub(super) fn takers(&self) -> Vec<usize> {
        let mut takers: Vec<_> =
            self.pool.takers().into_iter().map(|worker| self.ordinal(worker)).collect();
        takers.sort_unstable();
        takers
    }

    pub(super) fn push(&mut self, job: &'static str) -> Vec<String> {
        self.push_with(job, 0)
    }

    pub(super) fn push_with(&mut self, job: &'static str, priority: i32) -> Vec<String> {
        let key = self.pool.push(job, priority, self.time()).expect("taken");
        self.keys.insert(job, key);
        self.acts()
    }

    pub(super) fn refused(&mut self, job: &'static str) -> Refusal {
        let refused = self.pool.push(job, 0, self.time()).expect_err("refused");
        assert_eq!(refused.job, job);
        refused.why
    }

    pub(super) fn put_back(&mut self, job: &'static str) -> Vec<String> {
        self.pool.put_back(self.keys[job], job, self.time());
        self.acts()
    }

    pub(super) fn done(&mut self, worker: usize) -> Vec<String> {
        self.pool.done(self.workers[worker], self.time());
        self.acts()
    }

    pub(super) fn ready(&mut self, worker: usize) -> Vec<String> {
        if self.workers.len() <= worker {
            self.acts();
        }
        self.pool.ready(self.workers[worker], self.time());
        self.acts()
    }

    pub(super) fn retire(&mut self, worker: usize, why: Why) -> Vec<String> {
        self.pool.retire(self.workers[worker], self.time(), why);
        self.acts()
    }

    pub(super) fn down(&mut self, worker: usize) -> Vec<String> {
        self.pool.down(self.workers[worker], self.time());
        self.acts()
    }

    pub(super) fn gone(&mut self, worker: usize) -> Vec<String> {
        self.pool.gone(self.workers[worker], self.time());
        self.acts()
    }

    pub(super) fn short(&mut self, worker: usize) -> Vec<String> {
        self.pool.short(self.workers[worker], self.time());
        self.acts()
    }

    pub(super) fn change(&mut self, with: impl FnOnce(&mut Rules)) -> Vec<String> {
        self.pool.change(self.time(), with);
        self.acts()
    }

    pub(super) fn resize(&mut self, max: usize) -> Vec<String> {
        self.pool.resize(max, self.time());
        self.acts()
    }

    pub(super) fn reload(&mut self) -> Vec<String> {
        self.pool.reload(self.time());
        self.acts()
    }

    pub(super) fn drain(&mut self) -> Vec<String> {
        self.pool.drain(self.time());
        self.acts()
    }

    pub(super) fn tick(&mut self) -> Vec<String> {
        self.pool.tick(self.time());
        self.acts()
    }
}
