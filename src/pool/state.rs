//! What a pool knows, under its one lock.

use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::carry::Step;
use super::core::Core;
use super::errand::Job;
use super::hung::Hung;
use super::member::{Backlog, Member};
use super::scheduler::{Action, Counts, Scheduler, WorkerId};
use super::stats::Stats;
use crate::error::{Fault, is_shortage};
use crate::lead::Seat;
use crate::link::Link;
use crate::process::Process;
use crate::room::Line;
use crate::rpc::pooled::OnDestroy;

pub(super) struct State {
    pub(super) scheduler: Scheduler<Arc<dyn Job>>,
    pub(super) template: Arc<Process>,
    /// It is being made again; workers and spares that wait for that.
    pub(super) rebuilding: bool,
    /// The new one, whose setup functions run.
    pub(super) making: Option<Weak<Link>>,
    pub(super) unmade: Vec<Arc<Member>>,
    /// By the index of their ids.
    pub(super) members: Vec<Option<Arc<Member>>>,
    pub(super) backlogs: Vec<(WorkerId, Backlog)>,
    /// Those that have been made.
    pub(super) spares: Vec<Arc<Member>>,
    /// Spares that are to be made.
    pub(super) owed_spares: usize,
    pub(super) stats: Stats,
    /// Of the last worker that was not ready before it ended.
    pub(super) failure: Option<Failure>,
    pub(super) failures: u32,
    /// Workers that run on with calls that nobody waits for.
    pub(super) hung: Vec<Hung>,
    /// Jobs that workers have.
    pub(super) running: usize,
    pub(super) killed: bool,
    pub(super) over: bool,
    pub(super) on_destroy: Option<OnDestroy>,
    /// When the hub will call.
    pub(super) armed: Option<Instant>,
    pub(super) room: Line,
    pub(super) end_seats: Vec<Arc<Seat>>,
    pub(super) end_wakers: Vec<Waker>,
    /// Itself, while the program has no handle but there is something to do.
    pub(super) kept: Option<Arc<Core>>,
    /// To be used again.
    pub(super) actions: Vec<Action<Arc<dyn Job>>>,
    pub(super) steps: Vec<Step>,
    /// What those who look on were told last, and when.
    observed: Option<Instant>,
    told: Levels,
    /// Something has happened since.
    unseen: bool,
}

#[derive(Clone)]
pub(super) struct Failure {
    pub(super) why: Arc<str>,
    pub(super) init: bool,
    /// The number of the system's error, if it was one.
    pub(super) errno: Option<i32>,
}

impl Failure {
    /// Something had run out, and may be there later.
    pub(super) fn may_pass(&self) -> bool {
        self.errno.is_some_and(is_shortage)
    }
}

/// How much there is.
#[derive(Clone, Copy, Default)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "for metrics"))]
pub(super) struct Levels {
    pub(super) workers: Counts,
    pub(super) queued: usize,
}

/// Counting thousands of workers for each call would be most of its cost.
const OBSERVED_EVERY: Duration = Duration::from_millis(100);

impl State {
    pub(super) fn new(
        scheduler: Scheduler<Arc<dyn Job>>,
        template: Process,
        on_destroy: Option<OnDestroy>,
    ) -> State {
        State {
            scheduler,
            template: Arc::new(template),
            rebuilding: false,
            making: None,
            unmade: Vec::new(),
            members: Vec::new(),
            backlogs: Vec::new(),
            spares: Vec::new(),
            owed_spares: 0,
            stats: Stats::default(),
            failure: None,
            failures: 0,
            hung: Vec::new(),
            killed: false,
            over: false,
            on_destroy,
            armed: None,
            room: Line::default(),
            end_seats: Vec::new(),
            end_wakers: Vec::new(),
            kept: None,
            actions: Vec::new(),
            steps: Vec::new(),
            observed: None,
            told: Levels::default(),
            unseen: false,
            running: 0,
        }
    }

    pub(super) fn member(&self, id: WorkerId) -> Option<&Arc<Member>> {
        let member = self.members.get(id.index())?.as_ref()?;
        (member.id() == Some(id)).then_some(member)
    }

    pub(super) fn has_room(&self) -> bool {
        self.scheduler.has_room()
    }

    /// Whoever looks on is to be told soon.
    pub(super) fn look_on(&mut self) {
        self.observed = None;
    }

    /// What those who look on are to be told, now and then: what they were told last, and
    /// what it is now.
    pub(super) fn levels(&mut self, now: Instant) -> Option<(Levels, Levels)> {
        if !cfg!(feature = "metrics") {
            return None;
        }
        self.unseen = self.observed.is_some_and(|then| now < then + OBSERVED_EVERY);
        if self.unseen {
            return None;
        }
        self.observed = Some(now);
        let levels = Levels { workers: self.scheduler.counts(), queued: self.scheduler.queued() };
        Some((std::mem::replace(&mut self.told, levels), levels))
    }

    /// When they are to be told, if nothing happens that they are told with.
    pub(super) fn levels_due(&self) -> Option<Instant> {
        Some(self.observed.filter(|_| self.unseen)? + OBSERVED_EVERY)
    }

    /// What calls are told if none are taken.
    pub(super) fn fault(&self) -> Fault {
        match &self.failure {
            Some(Failure { why, init, .. }) if self.scheduler.is_broken() => {
                Fault::PoolBroken { failures: self.failures, why: why.clone(), init: *init }
            }
            _ => Fault::PoolEnded,
        }
    }

    /// What a call is told that was taken, and will not be done.
    pub(super) fn fault_of_failed(&self) -> Fault {
        match &self.failure {
            Some(failure) if failure.may_pass() && !self.killed && !self.scheduler.is_broken() => {
                Fault::NoWorker { why: failure.why.clone(), errno: failure.errno }
            }
            _ => self.fault(),
        }
    }
}
