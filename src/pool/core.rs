//! What a pool knows, behind one lock.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::errand::{Job, Place};
use super::member::{Backlog, Member};
use super::scheduler::{Action, Refusal, Refused, Scheduler, Why, WorkerId};
use super::stats::Stats;
use crate::error::{Ended, Error, Fault};
use crate::home::Home;
use crate::lead::Seat;
use crate::process::Process;
use crate::rpc::pooled::{self, Launcher, OnDestroy, OnError, OnEvent, Style, quietly};
use crate::sys::forked::Birthmark;

pub(super) struct Core {
    pub(super) home: &'static Home,
    pub(super) mark: Birthmark,
    pub(super) plan: Plan,
    pub(super) me: Weak<Core>,
    pub(super) begun: Instant,
    state: Mutex<State>,
}

/// How a worker is made, and what is done for all of them.
pub(super) struct Plan {
    pub(super) launcher: Launcher,
    /// Steps that each worker's process takes beside those of its template.
    pub(super) prepare: Box<dyn Fn(Process) -> Process + Send + Sync>,
    pub(super) on_event: Option<Box<dyn Fn(Weak<Member>) -> OnEvent + Send + Sync>>,
    pub(super) on_error: Option<Complaints>,
    pub(super) time: Option<Duration>,
    pub(super) max_memory: Option<u64>,
    pub(super) keep_after_panic: bool,
    /// How often an idempotent call is made again.
    pub(super) retries: u32,
    pub(super) capture_stderr: bool,
}

/// The program's `on_error`. What comes while it runs, be it from itself, is told by
/// whoever runs it.
pub(super) struct Complaints {
    told: Mutex<(Option<OnError>, VecDeque<Error>)>,
}

impl Complaints {
    pub(super) fn new(on_error: OnError) -> Complaints {
        Complaints { told: Mutex::new((Some(on_error), VecDeque::new())) }
    }

    pub(super) fn tell(&self, error: Error) {
        let lock = || self.told.lock().unwrap_or_else(|e| e.into_inner());
        let mut told = lock();
        told.1.push_back(error);
        while let Some(mut on_error) = told.0.take() {
            let next = told.1.pop_front();
            drop(told);
            let more = next.is_some();
            if let Some(error) = next {
                quietly(|| on_error(error));
            }
            told = lock();
            told.0 = Some(on_error);
            if !more {
                break;
            }
        }
    }
}

pub(super) struct State {
    pub(super) scheduler: Scheduler<Arc<dyn Job>>,
    pub(super) template: Arc<Process>,
    /// It is being made again; workers that wait for that.
    pub(super) rebuilding: bool,
    pub(super) unmade: Vec<Arc<Member>>,
    /// By the index of their ids.
    pub(super) members: Vec<Option<Arc<Member>>>,
    pub(super) backlogs: Vec<(WorkerId, Backlog)>,
    pub(super) spares: Vec<Arc<Member>>,
    /// Spares that are to be made.
    pub(super) owed_spares: usize,
    pub(super) stats: Stats,
    /// Of the last worker that was not ready before it ended.
    pub(super) failure: Option<Failure>,
    pub(super) failures: u32,
    /// Jobs that workers have.
    pub(super) running: usize,
    pub(super) killed: bool,
    pub(super) over: bool,
    pub(super) on_destroy: Option<OnDestroy>,
    /// When the hub will call.
    pub(super) armed: Option<Instant>,
    pub(super) room: Vec<Arc<Seat>>,
    pub(super) room_wakers: Vec<Waker>,
    pub(super) end_seats: Vec<Arc<Seat>>,
    pub(super) end_wakers: Vec<Waker>,
    /// Itself, while the program has no handle but there is something to do.
    pub(super) kept: Option<Arc<Core>>,
    /// To be used again.
    pub(super) actions: Vec<Action<Arc<dyn Job>>>,
    pub(super) steps: Vec<super::carry::Step>,
}

#[derive(Clone)]
pub(super) struct Failure {
    pub(super) why: Arc<str>,
    pub(super) init: bool,
}

/// What to do if there is no room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Wait,
    Refuse,
}

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
            unmade: Vec::new(),
            members: Vec::new(),
            backlogs: Vec::new(),
            spares: Vec::new(),
            owed_spares: 0,
            stats: Stats::default(),
            failure: None,
            failures: 0,
            killed: false,
            over: false,
            on_destroy,
            armed: None,
            room: Vec::new(),
            room_wakers: Vec::new(),
            end_seats: Vec::new(),
            end_wakers: Vec::new(),
            kept: None,
            actions: Vec::new(),
            steps: Vec::new(),
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

    /// What calls are told if none can be made.
    pub(super) fn fault(&self) -> Fault {
        match &self.failure {
            Some(Failure { why, init }) if self.scheduler.is_broken() => {
                Fault::PoolBroken { failures: self.failures, why: why.clone(), init: *init }
            }
            _ => Fault::PoolEnded,
        }
    }
}

impl Core {
    pub(super) fn new(home: &'static Home, plan: Plan, state: State) -> Arc<Core> {
        Arc::new_cyclic(|me| Core {
            home,
            mark: Birthmark::new(),
            plan,
            me: me.clone(),
            begun: Instant::now(),
            state: Mutex::new(state),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn is_calling_back(&self) -> bool {
        pooled::is_in_callback_of(self.me.as_ptr().addr())
    }

    /// Takes a job in.
    pub(super) fn submit(&self, job: Arc<dyn Job>, full: Full) -> Result<(), Error> {
        self.check()?;
        let mut job = job;
        loop {
            let now = job.card().note().made;
            let mut state = self.lock();
            let pushed = Arc::clone(&job);
            match self.push(&mut state, job, now) {
                Ok(()) => {
                    self.carry_out(state, now);
                    // If it is queued, whoever waits for it does not read.
                    pushed.card().attended.store(false, Ordering::Release);
                    return Ok(());
                }
                Err((back, Fault::Full)) if full == Full::Wait && !self.is_calling_back() => {
                    job = back;
                    self.wait_for_room(state);
                }
                Err((_, fault)) => return Err(fault.into()),
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

    fn wait_for_room(&self, mut state: MutexGuard<'_, State>) {
        let seat = Seat::new();
        state.room.push(Arc::clone(&seat));
        drop(state);
        seat.sleep(None);
        self.lock().room.retain(|s| !Arc::ptr_eq(s, &seat));
    }

    /// Has `waker` woken when there may be room.
    pub(super) fn wake_for_room(&self, waker: &Waker) {
        let mut state = self.lock();
        if state.over || state.has_room() || state.scheduler.is_broken() {
            drop(state);
            waker.wake_by_ref();
        } else if !state.room_wakers.iter().any(|w| w.will_wake(waker)) {
            state.room_wakers.push(waker.clone());
        }
    }

    /// A job has had its answer.
    pub(super) fn answered(&self, card: &super::errand::Card, good: bool) {
        let now = Instant::now();
        let (place, made, sent) = {
            let mut noted = card.note();
            noted.frame = None;
            (std::mem::replace(&mut noted.place, Place::Over), noted.made, noted.sent)
        };
        let Some(member) = place.member() else { return };
        let Some(id) = member.id() else { return };
        let limit = self.plan.max_memory;
        let fat = limit.is_some_and(|limit| member.resident().is_some_and(|now| now > limit));
        let run = self.ran(member, sent, now);
        let mut state = self.lock();
        if good {
            state.stats.done += 1;
        } else {
            state.stats.failed.codec += 1;
        }
        state.stats.run.record(run);
        state.stats.wait.record(now.saturating_duration_since(made).saturating_sub(run));
        if fat {
            state.scheduler.retire(id, now, Why::Memory);
        }
        state.running -= 1;
        state.scheduler.done(id, now);
        self.carry_out(state, now);
    }

    fn ran(&self, member: &Member, sent: Instant, now: Instant) -> Duration {
        match self.plan.launcher.style {
            Style::Sync => member.ran(self.begun, sent, now),
            Style::Async => now.saturating_duration_since(sent),
        }
    }

    /// A job has failed at a worker. What its caller is told; nothing if it is made again.
    pub(super) fn failed(&self, job: &Arc<dyn Job>, fault: Fault) -> Option<Fault> {
        let now = Instant::now();
        let mut state = self.lock();
        let told = self.note_failed(&mut state, job, fault, now);
        self.carry_out(state, now);
        told
    }

    pub(super) fn note_failed(
        &self,
        state: &mut State,
        job: &Arc<dyn Job>,
        fault: Fault,
        now: Instant,
    ) -> Option<Fault> {
        let card = job.card();
        let mut noted = card.note();
        let member = noted.place.member()?.clone();
        let id = member.id()?;
        let dies = match &fault {
            Fault::Ended(_) | Fault::Init(_) | Fault::Protocol(_) => true,
            Fault::Panic { .. } => {
                self.plan.launcher.style == Style::Sync && !self.plan.keep_after_panic
            }
            _ => false,
        };
        if dies {
            state.scheduler.down(id, now);
        }
        state.running -= 1;
        state.scheduler.done(id, now);
        let untouched =
            matches!(&fault, Fault::Ended(Ended { started: Some(false), .. }) | Fault::Init(_));
        let mut again = untouched;
        if matches!(fault, Fault::Ended(_)) && !untouched && noted.retries > 0 {
            noted.retries -= 1;
            again = true;
        }
        if again
            && noted.frame.is_some()
            && !noted.cancelled
            && !state.killed
            && let Some(key) = noted.key
        {
            noted.place = Place::Queued;
            drop(noted);
            if untouched {
                state.stats.moved += 1;
            } else {
                state.stats.retried += 1;
            }
            state.scheduler.put_back(key, Arc::clone(job), now);
            return None;
        }
        noted.place = Place::Over;
        noted.frame = None;
        let (made, sent) = (noted.made, noted.sent);
        drop(noted);
        let run = self.ran(&member, sent, now);
        state.stats.failed.count(&fault);
        state.stats.run.record(run);
        state.stats.wait.record(now.saturating_duration_since(made).saturating_sub(run));
        Some(fault)
    }

    /// The job's caller does not want it any more.
    pub(super) fn cancel(&self, job: Arc<dyn Job>) {
        if self.check().is_err() {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        let mut noted = job.card().note();
        match (&noted.place, noted.key) {
            (Place::Queued, Some(key)) if state.scheduler.cancel(key).is_some() => {
                noted.place = Place::Over;
                noted.frame = None;
                drop(noted);
                state.stats.failed.cancelled += 1;
                self.carry_out(state, now);
                job.refuse(Fault::Cancelled);
            }
            (Place::Sent(member, ticket), _) => {
                let (conn, ticket) = (member.conn().map(Arc::clone), *ticket);
                noted.cancelled = true;
                drop(noted);
                drop(state);
                if let Some(conn) = conn {
                    conn.cancel(ticket, Fault::Cancelled);
                }
            }
            (Place::Over, _) => {}
            // Whoever gives it to a worker looks at this.
            _ => noted.cancelled = true,
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
        if state.member(worker).is_none() || !state.scheduler.add_load(worker) {
            return false;
        }
        let step = state.send_to(worker, job);
        state.steps.extend(step);
        self.carry_out(state, now);
        true
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        let counts = state.scheduler.counts();
        Stats {
            starting: counts.starting,
            idle: counts.idle,
            busy: counts.busy,
            retiring: counts.retiring,
            spares: counts.spares,
            queued: state.scheduler.queued(),
            running: state.running,
            ..state.stats.clone()
        }
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        let conns: Vec<_> = {
            let state = self.lock();
            state.members.iter().flatten().filter_map(|m| m.conn().map(Arc::clone)).collect()
        };
        conns.iter().filter_map(|conn| conn.child.id().ok()).collect()
    }

    /// How many calls of a map are on their way at once: as many as workers can have, and
    /// as many waiting, so that none has to, and more workers are started.
    pub(super) fn window(&self) -> u64 {
        let state = self.lock();
        let rules = state.scheduler.rules();
        (2 * rules.max.saturating_mul(rules.load)).min(1 << 20) as u64
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
