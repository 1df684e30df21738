//! Whoever carries out what was decided may be late: by then other things have happened.

use std::collections::BTreeSet;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngAlgorithm;

use super::properties::rules;
use super::scene::ms;
use crate::pool::scheduler::{Action, JobKey, Rules, Scheduler, Why, WorkerId};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// The scheduler has it, be it in what is to be carried out.
    Inside,
    On(WorkerId),
    Over,
}

#[derive(Clone, Debug)]
enum Event {
    Push(i32),
    Cancel(Index),
    Done(Index),
    PutBack(Index),
    Ready(Index),
    Retire(Index, Why),
    Down(Index),
    Short(Index),
    Gone(Index),
    SpareMade,
    SpareLost,
    Resize(usize),
    Reload,
    Drain,
    Stop,
    Pass(u64),
    CarryOut,
}

fn event() -> impl Strategy<Value = Event> {
    let any_index = any::<Index>;
    prop_oneof![
        60 => (-1..2).prop_map(Event::Push),
        5 => any_index().prop_map(Event::Cancel),
        30 => any_index().prop_map(Event::Done),
        8 => any_index().prop_map(Event::PutBack),
        30 => any_index().prop_map(Event::Ready),
        8 => (any_index(), select(vec![Why::Asked, Why::Memory]))
            .prop_map(|(worker, why)| Event::Retire(worker, why)),
        8 => any_index().prop_map(Event::Down),
        8 => any_index().prop_map(Event::Short),
        30 => any_index().prop_map(Event::Gone),
        4 => Just(Event::SpareMade),
        4 => Just(Event::SpareLost),
        3 => (1..7_usize).prop_map(Event::Resize),
        3 => Just(Event::Reload),
        2 => Just(Event::Drain),
        2 => Just(Event::Stop),
        20 => (0..200_u64).prop_map(Event::Pass),
        60 => Just(Event::CarryOut),
    ]
}

struct Late {
    pool: Scheduler<usize>,
    now: Instant,
    jobs: Vec<(JobKey, Place)>,
    /// Those that have been started, and are not gone.
    workers: Vec<WorkerId>,
    over: bool,
}

impl Late {
    fn new(rules: Rules) -> Late {
        Late {
            pool: Scheduler::new(rules, 1),
            now: Instant::now(),
            jobs: Vec::new(),
            workers: Vec::new(),
            over: false,
        }
    }

    fn one(&self, index: &Index) -> Option<WorkerId> {
        (!self.workers.is_empty()).then(|| *index.get(&self.workers))
    }

    /// A job that a worker has.
    fn sent(&self, index: &Index) -> Option<(usize, WorkerId)> {
        let sent = |(job, (_, place)): (usize, &(_, Place))| match place {
            Place::On(worker) => Some((job, *worker)),
            Place::Inside | Place::Over => None,
        };
        let all: Vec<_> = self.jobs.iter().enumerate().filter_map(sent).collect();
        (!all.is_empty()).then(|| *index.get(&all))
    }

    fn load(&self, worker: WorkerId) -> usize {
        self.jobs.iter().filter(|(_, place)| *place == Place::On(worker)).count()
    }

    fn happen(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::Push(priority) => {
                if let Ok(key) = self.pool.push(self.jobs.len(), *priority, now) {
                    self.jobs.push((key, Place::Inside));
                }
            }
            Event::Cancel(index) if !self.jobs.is_empty() => {
                let job = index.index(self.jobs.len());
                if self.pool.cancel(self.jobs[job].0).is_some() {
                    self.jobs[job].1 = Place::Over;
                }
            }
            Event::Done(index) => {
                let Some((job, worker)) = self.sent(index) else { return };
                self.jobs[job].1 = Place::Over;
                self.pool.done(worker, now);
            }
            Event::PutBack(index) => {
                let Some((job, worker)) = self.sent(index) else { return };
                self.jobs[job].1 = Place::Inside;
                self.pool.down(worker, now);
                self.pool.done(worker, now);
                self.pool.put_back(self.jobs[job].0, job, now);
            }
            Event::Ready(index) => self.tell(index, |pool, id| pool.ready(id, now)),
            Event::Retire(index, why) => self.tell(index, |pool, id| pool.retire(id, now, *why)),
            Event::Down(index) => self.tell(index, |pool, id| pool.down(id, now)),
            Event::Short(index) => self.tell(index, |pool, id| pool.short(id, now)),
            Event::Gone(index) => self.one(index).map_or((), |worker| self.gone(worker)),
            Event::SpareMade => self.pool.spare_made(),
            Event::SpareLost => self.pool.spare_lost(now),
            Event::Resize(max) => self.pool.resize(*max, now),
            Event::Reload => self.pool.reload(now),
            Event::Drain => self.pool.drain(now),
            Event::Stop => {
                for (key, job) in self.pool.stop(now) {
                    assert_eq!(self.jobs[job], (key, Place::Inside));
                    self.jobs[job].1 = Place::Over;
                }
            }
            Event::Pass(time) => {
                self.now += ms(*time);
                self.pool.tick(self.now);
            }
            Event::CarryOut => self.carry_out(),
            Event::Cancel(_) => {}
        }
    }

    fn tell(&mut self, index: &Index, tell: impl FnOnce(&mut Scheduler<usize>, WorkerId)) {
        if let Some(worker) = self.one(index) {
            tell(&mut self.pool, worker);
        }
    }

    fn gone(&mut self, worker: WorkerId) {
        self.workers.retain(|other| *other != worker);
        for (_, place) in &mut self.jobs {
            if *place == Place::On(worker) {
                *place = Place::Over;
            }
        }
        self.pool.gone(worker, self.now);
    }

    fn carry_out(&mut self) {
        let mut actions = Vec::new();
        self.pool.take_actions(&mut actions);
        for action in actions {
            assert!(!self.over, "{action:?} after the end");
            match action {
                Action::Start(worker) => self.workers.push(worker),
                Action::Spare => {}
                Action::Send { worker, key, job } => {
                    assert!(self.workers.contains(&worker), "sent to one that is not there");
                    assert_eq!(self.jobs[job], (key, Place::Inside));
                    self.jobs[job].1 = Place::On(worker);
                }
                Action::Finish(worker) => {
                    assert!(self.workers.contains(&worker), "ended, and not there");
                    assert_eq!(self.load(worker), 0, "ended with jobs");
                }
                Action::Fail { key, job } => {
                    assert_eq!(self.jobs[job], (key, Place::Inside));
                    self.jobs[job].1 = Place::Over;
                }
                Action::Drained => {
                    assert!(self.workers.is_empty());
                    self.over = true;
                }
            }
        }
    }

    /// Nothing is to be done with one that is not there, and each job is in one place.
    fn check(&self) {
        let mut there: Vec<_> = self.workers.clone();
        let mut inside: Vec<_> = self.pool.queue.values().copied().collect();
        let mut loads: Vec<_> = self.workers.iter().map(|worker| self.load(*worker)).collect();
        for action in &self.pool.actions {
            match action {
                Action::Start(worker) => {
                    there.push(*worker);
                    loads.push(0);
                }
                Action::Send { worker, job, .. } => {
                    let at = there.iter().position(|known| known == worker);
                    loads[at.unwrap_or_else(|| panic!("{action:?} to nobody"))] += 1;
                    inside.push(*job);
                }
                Action::Finish(worker) => assert!(there.contains(worker), "{action:?} of nobody"),
                Action::Fail { job, .. } => inside.push(*job),
                Action::Spare | Action::Drained => {}
            }
        }
        for (worker, load) in there.iter().zip(loads) {
            let index = self.pool.roster.find(*worker).expect("known to both");
            assert_eq!(self.pool.roster.get(index).load as usize, load);
        }
        assert_eq!(self.pool.roster.live(), there.len());
        let count = inside.len();
        let inside: BTreeSet<_> = inside.into_iter().collect();
        assert_eq!(inside.len(), count, "a job is there twice");
        let known = self.jobs.iter().enumerate();
        let known = known.filter(|(_, (_, place))| *place == Place::Inside).map(|(job, _)| job);
        assert_eq!(inside, known.collect(), "a job is lost, or done twice");
    }

    /// Everybody does what there is to do, until it is over.
    fn end(&mut self) {
        self.pool.drain(self.now);
        for _ in 0..10_000 {
            self.carry_out();
            if self.over {
                return;
            }
            for worker in self.workers.clone() {
                self.pool.ready(worker, self.now);
                for _ in 0..self.load(worker) {
                    self.pool.done(worker, self.now);
                }
                self.gone(worker);
            }
            for _ in 0..self.pool.spares.on_their_way() {
                self.pool.spare_made();
            }
            self.now = self.pool.next_tick().unwrap_or(self.now);
            self.pool.tick(self.now);
            self.check();
        }
        panic!("it does not come to an end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_job_is_lost_and_nothing_is_done_with_one_that_is_gone(
        rules in rules(),
        events in vec(event(), 1..200),
    ) {
        let mut late = Late::new(rules);
        for event in &events {
            late.happen(event);
            late.check();
        }
        late.end();
        prop_assert!(late.jobs.iter().all(|(_, place)| *place == Place::Over));
    }
}
