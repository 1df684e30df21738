//! What all of a pool share: how it is made, and what it knows, behind one lock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use tracing::Dispatch;

use super::attend::Attendance;
use super::complaints::Complaints;
use super::errand::Job;
use super::member::Member;
use super::room::InLine;
use super::scheduler::{Refusal, Refused, Scheduler, WorkerId};
use super::state::State;
use super::stats::Stats;
use crate::error::{Error, Fault};
use crate::home::Home;
use crate::hub;
use crate::left::Left;
use crate::process::Process;
use crate::rpc::pooled::{self, Launcher, OnEvent};
use crate::sys::forked::Birthmark;

pub(super) struct Core {
    pub(super) home: &'static Home,
    pub(super) mark: Birthmark,
    pub(super) left: Left,
    pub(super) plan: Plan,
    pub(super) me: Weak<Core>,
    pub(super) begun: Instant,
    pub(super) attendance: Arc<Attendance>,
    pub(super) state: Mutex<State>,
}

/// How a worker is made, and what is done for all of them.
pub(super) struct Plan {
    pub(super) launcher: Launcher,
    /// Steps that each worker's process takes beside those of its template.
    pub(super) prepare: Box<dyn Fn(Process) -> Process + Send + Sync>,
    /// The program's subscriber, for what workers log; whoever starts one may have another.
    pub(super) log_to: Option<Dispatch>,
    pub(super) on_event: Option<Box<dyn Fn(Weak<Member>) -> OnEvent + Send + Sync>>,
    pub(super) on_error: Option<Complaints>,
    pub(super) time: Option<Duration>,
    pub(super) max_memory: Option<u64>,
    pub(super) keep_after_panic: bool,
    /// How often an idempotent call is made again.
    pub(super) retries: u32,
    pub(super) capture_stderr: bool,
}

/// What to do if there is no room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Wait,
    Refuse,
}

impl Core {
    pub(super) fn new(home: &'static Home, plan: Plan, state: State) -> Arc<Core> {
        Arc::new_cyclic(|me| Core {
            home,
            mark: Birthmark::new(),
            left: Left::default(),
            plan,
            me: me.clone(),
            begun: Instant::now(),
            attendance: Attendance::new(me.clone()),
            state: Mutex::new(state),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn is_calling_back(&self) -> bool {
        pooled::is_in_callback_of(self.me.as_ptr().addr())
    }

    /// Whether what this thread would wait for can come while it does: not in a callback
    /// of this pool, nor in any that the hub runs, which reads for the calls that wait.
    pub(super) fn cannot_wait(&self) -> bool {
        hub::is_here() || self.is_calling_back()
    }

    /// Takes a job in.
    pub(super) fn submit(&self, job: Arc<dyn Job>, full: Full) -> Result<(), Error> {
        self.check()?;
        let mut job = job;
        let mut now = job.card().note().made;
        let mut line = None;
        loop {
            let mut state = self.lock();
            let pushed = Arc::clone(&job);
            match self.push(&mut state, job, now) {
                Ok(()) => {
                    self.carry_out(state, now);
                    // If it is queued, whoever waits for it does not read.
                    pushed.card().attended.store(false, Ordering::Release);
                    return Ok(());
                }
                Err((back, Fault::Full)) if full == Full::Wait && !self.cannot_wait() => {
                    job = back;
                    let me = || InLine::new(&self.me.upgrade().expect("it is borrowed"));
                    line.get_or_insert_with(me).sleep(state);
                    now = Instant::now();
                }
                Err((back, fault)) => {
                    // What has no room may be tried again.
                    if !matches!(fault, Fault::Full) || full == Full::Wait {
                        back.card().not_taken(&fault);
                    }
                    return Err(fault.into());
                }
            }
        }
    }

    /// The same, if there is room; else the job comes back.
    pub(super) fn push(
        &self,
        state: &mut State,
        job: Arc<dyn Job>,
        now: Instant,
    ) -> Result<(), (Arc<dyn Job>, Fault)> {
        let pushed = Arc::clone(&job);
        match state.scheduler.push(job, pushed.card().priority, now) {
            Ok(key) => {
                pushed.card().note().key = Some(key);
                Ok(())
            }
            Err(Refused { job, why: Refusal::Full }) => Err((job, Fault::Full)),
            Err(Refused { job, why: Refusal::Broken | Refusal::Draining }) => {
                Err((job, state.fault()))
            }
        }
    }

    /// The scheduler is told something.
    pub(super) fn with_scheduler(&self, tell: impl FnOnce(&mut Scheduler<Arc<dyn Job>>, Instant)) {
        let now = Instant::now();
        let mut state = self.lock();
        tell(&mut state.scheduler, now);
        self.carry_out(state, now);
    }

    pub(super) fn takers(&self) -> Vec<WorkerId> {
        self.lock().scheduler.takers()
    }

    /// Gives a job to a certain worker, however much it has to do; whether it is there.
    pub(super) fn give(&self, worker: WorkerId, job: Arc<dyn Job>) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(member) = state.member(worker).map(Arc::clone) else { return false };
        if !state.scheduler.add_load(worker) {
            return false;
        }
        let step = state.send_to(member, worker, job);
        state.steps.extend(step);
        self.carry_out(state, now);
        true
    }

    pub(super) fn stats(&self) -> Stats {
        // In a fork of the program the lock may be held by a thread that is not there.
        if self.check().is_err() {
            return Stats::default();
        }
        let state = self.lock();
        let counts = state.scheduler.counts();
        Stats {
            starting: counts.starting,
            idle: counts.idle,
            busy: counts.busy,
            retiring: counts.retiring,
            dying: counts.down,
            spares: counts.spares,
            queued: state.scheduler.queued(),
            running: state.running,
            ..state.stats.clone()
        }
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        if self.check().is_err() {
            return Vec::new();
        }
        let conns: Vec<_> = {
            let state = self.lock();
            state.members.iter().flatten().filter_map(|m| m.conn().map(Arc::clone)).collect()
        };
        conns.iter().filter_map(|conn| conn.child.id().ok()).collect()
    }

    /// How many calls of a map are on their way at once: as many as workers can have, and
    /// as many waiting, so that none has to, and more workers are started.
    pub(super) fn window(&self) -> u64 {
        if self.check().is_err() {
            // The one call that is made fails.
            return 1;
        }
        let state = self.lock();
        let rules = state.scheduler.rules();
        rules.max.saturating_mul(rules.load).saturating_mul(2).min(1 << 20) as u64
    }

    /// Whether nothing is left; else `waker` is woken then.
    pub(super) fn is_over_or_wakes(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        if !state.over && !state.end_wakers.iter().any(|w| w.will_wake(waker)) {
            state.end_wakers.push(waker.clone());
        }
        state.over
    }

    /// The scheduler is told something about a worker.
    pub(super) fn with_worker(
        &self,
        member: &Arc<Member>,
        tell: impl FnOnce(&mut Scheduler<Arc<dyn Job>>, WorkerId, Instant),
    ) {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(id) = member.id() {
            tell(&mut state.scheduler, id, now);
        }
        self.carry_out(state, now);
    }
}
