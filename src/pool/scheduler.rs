//! Which worker does which job, and how many workers there are: pure policy, with no
//! input or output and no clock of its own. The pool tells it what has happened, and
//! carries out the [`Action`]s that it decides on.
//!
//! ```text
//! Starting ──ready──▶ Idle ◀──▶ Busy        these take jobs: at most `max`
//!     │                │          │
//!     │   idle too long, retired, draining; down (it is dying)
//!     ▼                ▼          ▼
//!  Retiring: works off its jobs, is told to finish      Down: takes nothing more
//!     └───────────────gone───────────────┘
//! ```
//!
//! Every event is noted by a method in `events.rs` or `losses.rs`, which then lets
//! [`Scheduler::settle`] draw all conclusions, in one order: queued jobs are given out,
//! those who are to be recycled leave in turn, workers are started, and stopped. What
//! must hold after that: no job is queued while a worker that takes jobs has room;
//! nothing is due that could be done now; there is a
//! [`next_tick`](Scheduler::next_tick) exactly if time alone will change something.

mod cost;
mod dice;
mod events;
mod line;
mod losses;
mod member;
mod roster;
mod rules;
mod setbacks;
mod settle;
mod spares;
#[cfg(test)]
mod tests;
mod wishes;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use dice::Dice;
use roster::Roster;
use setbacks::Setbacks;
use spares::Spares;
use wishes::Wishes;

pub use cost::schedule_cost;
pub(crate) use member::WorkerId;
pub(crate) use rules::{Restart, Rules};

/// A job's place in the queue: higher priority first, then the older one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct JobKey {
    priority: Reverse<i32>,
    serial: u64,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub(crate) enum Action<J> {
    /// Make this worker, out of a spare if there is one.
    Start(WorkerId),
    /// Make one spare. The answer is `spare_made` or `spare_lost`.
    Spare,
    /// Send this job. The answer is `done`, or `put_back` and `done`.
    Send { worker: WorkerId, key: JobKey, job: J },
    /// End this worker: it has no jobs, and will get none. The answer is `gone`.
    Finish(WorkerId),
    /// The pool is broken, or has been stopped, or no worker can be made at present: this job
    /// will not be done.
    Fail {
        #[cfg_attr(not(test), expect(dead_code, reason = "for tests"))]
        key: JobKey,
        job: J,
    },
    /// After `drain` or `stop`, once: no job and no worker is left, and no spare is being
    /// made. The spares that there are can be ended.
    Drained,
}

/// A job that is not taken.
#[derive(Debug)]
pub(crate) struct Refused<J> {
    pub(crate) job: J,
    pub(crate) why: Refusal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    Full,
    Broken,
    Draining,
}

/// Why a worker is to be recycled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// It said so itself. It takes no more jobs at once, however many are away.
    Asked,
    /// It uses too much memory.
    Memory,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Starting,
    Idle,
    Busy,
    /// It takes no more jobs: it is recycled, or has been told to finish.
    Retiring,
    Down,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) starting: usize,
    pub(crate) idle: usize,
    pub(crate) busy: usize,
    pub(crate) retiring: usize,
    pub(crate) down: usize,
    /// Those that there are, without those that are being made.
    pub(crate) spares: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Open,
    Draining,
    Stopped,
    /// `Drained` has been said.
    Over,
}

pub(crate) struct Scheduler<J> {
    rules: Rules,
    dice: Dice,
    /// The latest time that anybody has told.
    clock: Option<Instant>,
    roster: Roster,
    queue: BTreeMap<JobKey, J>,
    serial: u64,
    wishes: Wishes,
    /// Workers that would take the place of others, and are started without delay.
    owed: usize,
    /// When one more worker is started.
    start_at: Option<Instant>,
    /// A job was refused for want of a worker.
    pressed: bool,
    setbacks: Setbacks,
    spares: Spares,
    stage: Stage,
    broken: bool,
    actions: Vec<Action<J>>,
}

impl<J> Scheduler<J> {
    /// Nothing is decided before the first event, which may be a `tick`.
    pub(crate) fn new(rules: Rules, seed: u64) -> Scheduler<J> {
        Scheduler {
            dice: Dice::new(seed),
            clock: None,
            roster: Roster::new(rules.load),
            queue: BTreeMap::new(),
            serial: 0,
            wishes: Wishes::default(),
            owed: rules.idle,
            start_at: None,
            pressed: false,
            setbacks: Setbacks::default(),
            spares: Spares::default(),
            stage: Stage::Open,
            broken: false,
            actions: Vec::new(),
            rules,
        }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Moves out what has been decided. Spares come last, so that making one delays no job.
    pub(crate) fn take_actions(&mut self, into: &mut Vec<Action<J>>) {
        into.append(&mut self.actions);
        for _ in 0..self.spares.take_due() {
            into.push(Action::Spare);
        }
    }

    /// When `tick` is to be called at the latest, unless something else happens before.
    /// An idle pool at rest waits for nothing.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        if matches!(self.stage, Stage::Stopped | Stage::Over) {
            return None;
        }
        let times = [
            self.start_at,
            self.setbacks.until(),
            self.spares.until(),
            self.wishes.next_due(),
            self.next_stop().map(|(_, at)| at),
        ];
        times.into_iter().flatten().min()
    }

    /// One more job would be taken.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_closed()
            && (self.queue.len() < self.rules.queue_limit
                || self.roster.has_room()
                || (self.lacking() > 0 && self.at_once() && self.setbacks.until().is_none()))
    }

    /// Workers that take jobs.
    pub(crate) fn takers(&self) -> Vec<WorkerId> {
        if matches!(self.stage, Stage::Stopped | Stage::Over) {
            return Vec::new();
        }
        self.roster.taking().map(|index| self.roster.id(index)).collect()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts { spares: self.spares.made(), ..Counts::default() };
        for state in self.roster.states() {
            match state {
                State::Starting => counts.starting += 1,
                State::Idle => counts.idle += 1,
                State::Busy => counts.busy += 1,
                State::Retiring => counts.retiring += 1,
                State::Down => counts.down += 1,
            }
        }
        counts
    }

    #[cfg(test)]
    pub(crate) fn state_of(&self, worker: WorkerId) -> Option<State> {
        self.roster.get(self.roster.find(worker)?).state()
    }

    /// No job is taken, for now or for ever.
    pub(crate) fn is_closed(&self) -> bool {
        self.broken || self.stage != Stage::Open
    }
}
