//! Thousands of workers that start, fail, work, die and end, on a clock of their own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::scene::{ms, rules};
use crate::pool::scheduler::dice::Dice;
use crate::pool::scheduler::{Action, JobKey, Rules, Scheduler, State, Why, WorkerId};

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrival,
    /// Of the worker in this place of the slab, if this is still the same.
    Ready(u32, u32),
    JobOver(u32, u32),
    /// It crashes, or its start fails.
    Dying(u32, u32),
    Gone(u32, u32),
    Tick,
}

#[derive(Default)]
struct Worker {
    generation: u32,
    ready: bool,
    jobs: VecDeque<(JobKey, usize)>,
}

#[derive(PartialEq, Eq, Debug, Default)]
struct Outcome {
    trace: u64,
    most_workers: usize,
    most_queued: usize,
    started: usize,
    failed: usize,
    crashed: usize,
    ended: usize,
    put_back: usize,
}

struct Simulation {
    pool: Scheduler<usize>,
    epoch: Instant,
    /// In microseconds, like all times here.
    now: u64,
    happenings: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    count: u64,
    dice: Dice,
    workers: Vec<Worker>,
    alive: usize,
    /// How often each job is over.
    over: Vec<u8>,
    arrived: usize,
    tick_at: Option<u64>,
    drained: bool,
    trace: DefaultHasher,
    outcome: Outcome,
}

impl Simulation {
    fn after(&mut self, time: u64, what: Happening) {
        self.count += 1;
        self.happenings.push(Reverse((self.now + time, self.count, what)));
    }

    fn time(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now)
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.dice.up_to(most - least)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.dice.up_to(n - 1) == 0
    }

    fn run(mut self) -> Outcome {
        self.after(0, Happening::Arrival);
        while let Some(Reverse((at, _, what))) = self.happenings.pop() {
            self.now = at;
            self.happen(what);
            self.carry_out();
        }
        assert!(self.drained && self.alive == 0);
        assert!(self.over.iter().all(|times| *times == 1), "a job that was not done once");
        self.outcome.trace = self.trace.finish();
        self.outcome
    }

    /// Whether this is still the worker that was meant.
    fn is(&self, index: u32, generation: u32) -> bool {
        self.workers[index as usize].generation == generation
    }

    fn happen(&mut self, what: Happening) {
        let now = self.time();
        match what {
            Happening::Arrival => self.arrive(),
            // There may be one for an earlier time since, or there may have been.
            Happening::Tick if self.tick_at == Some(self.now) => {
                self.tick_at = None;
                self.pool.tick(now);
            }
            Happening::Ready(index, generation) if self.is(index, generation) => {
                self.workers[index as usize].ready = true;
                self.pool.ready(WorkerId { index, generation }, now);
                self.work(index);
            }
            Happening::JobOver(index, generation) if self.is(index, generation) => {
                let (_, job) = self.workers[index as usize].jobs.pop_front().expect("its job");
                self.over[job] += 1;
                let worker = WorkerId { index, generation };
                self.pool.done(worker, now);
                if self.one_in(500) {
                    let why = if self.one_in(2) { Why::Asked } else { Why::Memory };
                    self.pool.retire(worker, now, why);
                }
                self.work(index);
            }
            Happening::Dying(index, generation) if self.is(index, generation) => {
                self.die(index);
            }
            Happening::Gone(index, generation) if self.is(index, generation) => {
                let worker = &mut self.workers[index as usize];
                assert!(worker.jobs.is_empty());
                worker.generation += 1;
                self.alive -= 1;
                self.pool.gone(WorkerId { index, generation }, now);
            }
            _late => {}
        }
    }

    /// Jobs come in bursts, and then the pool is told that there will be no more.
    fn arrive(&mut self) {
        let now = self.time();
        let left = self.over.len() - self.arrived;
        let burst = self.between(1, (self.over.len() as u64 / 100).max(2)) as usize;
        for _ in 0..burst.min(left) {
            let priority = self.between(0, 2) as i32;
            self.pool.push(self.arrived, priority, now).expect("taken");
            self.arrived += 1;
        }
        if self.arrived < self.over.len() {
            let pause = if self.one_in(20) { 2_000_000 } else { 40_000 };
            let pause = self.between(1, pause);
            self.after(pause, Happening::Arrival);
        } else {
            self.pool.drain(now);
        }
    }

    /// The first of its jobs, if it is not at work already.
    fn work(&mut self, index: u32) {
        let worker = &self.workers[index as usize];
        let generation = worker.generation;
        if !worker.ready || worker.jobs.is_empty() {
            return;
        }
        let time = self.between(1_000, 300_000);
        if self.one_in(300) {
            self.after(time, Happening::Dying(index, generation));
        } else {
            self.after(time, Happening::JobOver(index, generation));
        }
    }

    /// What it was at is lost, what it had not begun is not.
    fn die(&mut self, index: u32) {
        let now = self.time();
        let worker = &mut self.workers[index as usize];
        let id = WorkerId { index, generation: worker.generation };
        let mut jobs = std::mem::take(&mut worker.jobs);
        if worker.ready {
            self.outcome.crashed += 1;
            let (_, job) = jobs.pop_front().expect("what it crashed of");
            self.over[job] += 1;
            self.pool.down(id, now);
            self.pool.done(id, now);
        } else {
            self.outcome.failed += 1;
            self.pool.down(id, now);
        }
        for (key, job) in jobs {
            self.outcome.put_back += 1;
            self.pool.put_back(key, job, now);
        }
        let time = self.between(0, 5_000);
        self.after(time, Happening::Gone(index, id.generation));
    }

    fn carry_out(&mut self) {
        let mut actions = Vec::new();
        self.pool.take_actions(&mut actions);
        for action in actions {
            match action {
                Action::Start(id) => self.start(id),
                Action::Send { worker: id, key, job } => {
                    (2, id, job).hash(&mut self.trace);
                    let worker = &mut self.workers[id.index as usize];
                    assert_eq!(worker.generation, id.generation);
                    worker.jobs.push_back((key, job));
                    assert!(worker.jobs.len() <= self.pool.rules().load);
                    if worker.jobs.len() == 1 {
                        self.work(id.index);
                    }
                }
                Action::Finish(id) => {
                    (3, id).hash(&mut self.trace);
                    self.outcome.ended += 1;
                    let time = self.between(500, 3_000);
                    self.after(time, Happening::Gone(id.index, id.generation));
                }
                Action::Drained => self.drained = true,
                Action::Fail { .. } | Action::Spare => panic!("neither broken nor with spares"),
            }
        }
        self.outcome.most_queued = self.outcome.most_queued.max(self.pool.queued());
        if let Some(at) = self.pool.next_tick() {
            // Rounded up: the scheduler does nothing before its time.
            let at = at.duration_since(self.epoch).as_nanos().div_ceil(1000) as u64;
            if self.tick_at.is_none_or(|earlier| at < earlier) {
                self.tick_at = Some(at);
                self.after(at - self.now, Happening::Tick);
            }
        }
    }

    fn start(&mut self, id: WorkerId) {
        (1, id).hash(&mut self.trace);
        assert_eq!(self.pool.state_of(id), Some(State::Starting));
        let index = id.index as usize;
        if self.workers.len() <= index {
            self.workers.resize_with(index + 1, Worker::default);
        }
        self.workers[index] = Worker { generation: id.generation, ..Worker::default() };
        self.alive += 1;
        self.outcome.started += 1;
        self.outcome.most_workers = self.outcome.most_workers.max(self.alive);
        let time = self.between(1_000, 50_000);
        let fails = self.one_in(50);
        let what = if fails { Happening::Dying } else { Happening::Ready };
        self.after(time, what(id.index, id.generation));
    }
}

fn simulate(workers: usize, jobs: usize, seed: u64) -> Outcome {
    let rules = Rules {
        max: workers,
        idle: workers / 50,
        load: 2,
        start: Duration::from_micros(100),
        stop: ms(200),
        max_jobs: Some(30),
        jitter: 0.3,
        max_age: Some(ms(5000)),
        max_recycling: workers / 50,
        ..rules()
    };
    let simulation = Simulation {
        pool: Scheduler::new(rules, seed),
        epoch: Instant::now(),
        now: 0,
        happenings: BinaryHeap::new(),
        count: 0,
        dice: Dice::new(seed),
        workers: Vec::new(),
        alive: 0,
        over: vec![0; jobs],
        arrived: 0,
        tick_at: None,
        drained: false,
        trace: DefaultHasher::new(),
        outcome: Outcome::default(),
    };
    simulation.run()
}

#[test]
fn every_one_of_many_jobs_is_over_once() {
    let outcome = simulate(5_000, 200_000, 1);
    // Otherwise it would not have shown anything.
    assert!(outcome.most_workers > 5_000 && outcome.most_queued > 10_000, "{outcome:?}");
    assert!(outcome.started > 8_000 && outcome.ended > 5_000, "{outcome:?}");
    assert!(outcome.failed > 100 && outcome.crashed > 100, "{outcome:?}");
    assert!(outcome.put_back > 100, "{outcome:?}");
}

#[test]
fn the_same_seed_gives_the_same_pool() {
    let outcome = simulate(200, 5_000, 7);
    assert_eq!(outcome, simulate(200, 5_000, 7));
    assert_ne!(outcome.trace, simulate(200, 5_000, 8).trace);
}
