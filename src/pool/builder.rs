//! What a pool is started with.

mod trouble;
mod worker;

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tracing::{Dispatch, dispatcher};

use super::complaints::Complaints;
use super::core::{Core, Plan};
use super::handle::Pool;
use super::member::Member;
use super::scheduler::{Restart, Rules, Scheduler};
use super::state::State;
use crate::error::Error;
use crate::home;
use crate::process::Process;
use crate::rpc::Worker;
use crate::rpc::pooled::{OnDestroy, OnError, Terms, quietly};

type OnEvent<E> = Box<dyn FnMut(u32, E) + Send>;
type Prepare = Box<dyn Fn(Process) -> Process + Send + Sync>;

/// A pool that is about to be built; see [`Pool::builder`].
///
/// Each option says what it is without it. Those of `AnyEvent::Fork::Pool` have the same
/// meaning and the same defaults here; there is a chapter of recipes,
/// [pools](crate::_docs::pools).
#[must_use = "nothing is started before `build`"]
pub struct PoolBuilder<A: 'static, R: 'static, E: 'static = ()> {
    terms: Terms<A, R, E>,
    rules: Rules,
    template: Option<Process>,
    timeout: Option<Duration>,
    max_memory: Option<u64>,
    retry: u32,
    capture_stderr: bool,
    steps: Vec<Prepare>,
    on_event: Option<OnEvent<E>>,
    on_error: Option<OnError>,
    on_destroy: Option<OnDestroy>,
}

/// At most so many workers and calls: more could not be numbered.
pub(super) const MOST: usize = 1 << 20;

impl<A: 'static, R: Send + 'static, E: Send + 'static> PoolBuilder<A, R, E> {
    pub(super) fn new<F>(worker: &Worker<F, A, R, E>) -> Self {
        let mut terms = Terms::of(worker);
        terms.limits.max_open = 1 << 30;
        terms.limits.max_queued = usize::MAX;
        PoolBuilder {
            terms,
            rules: Rules {
                max: 4,
                idle: 0,
                load: 2,
                start: Duration::from_millis(100),
                stop: Duration::from_secs(10),
                queue_limit: usize::MAX,
                max_jobs: None,
                jitter: 0.0,
                max_age: None,
                max_recycling: MOST,
                spares: 0,
                restart: Restart {
                    intensity: 5,
                    period: Duration::from_secs(10),
                    backoff: Duration::from_millis(10),
                    backoff_max: Duration::from_secs(1),
                },
            },
            template: None,
            timeout: None,
            max_memory: None,
            retry: 1,
            capture_stderr: false,
            steps: Vec::new(),
            on_event: None,
            on_error: None,
            on_destroy: None,
        }
    }

    /// What the workers are forked from; an empty process ([`Process::new`]) unless said
    /// otherwise. What was sent to it goes to the init function of each.
    pub fn template(mut self, template: Process) -> Self {
        self.template = Some(template);
        self
    }

    /// Workers that take calls, at most; 4 unless said otherwise. At least one.
    /// [`ncpu`](super::ncpu) is a good number for work that computes.
    pub fn max(mut self, workers: usize) -> Self {
        self.rules.max = workers.clamp(1, MOST);
        self
    }

    /// Idle workers that are kept, and started in advance; none unless said otherwise.
    pub fn idle(mut self, workers: usize) -> Self {
        self.rules.idle = workers.min(MOST);
        self
    }

    /// Calls that a worker is given at a time; 2 unless said otherwise, so that it has the
    /// next one when it is done with one. More make short calls much faster, as many go
    /// with one system call; fewer make fewer wait behind one that takes long. At least
    /// one. For asynchronous workers it is how many run at once; one that was cancelled, or is
    /// out of time, counts until it is over in its worker.
    pub fn load(mut self, calls: usize) -> Self {
        self.rules.load = calls.clamp(1, MOST);
        self
    }

    /// How long calls have to wait before another worker is started, and the time between
    /// two starts; 0.1 s unless said otherwise. The first is started at once.
    pub fn start(mut self, delay: Duration) -> Self {
        self.rules.start = delay;
        self
    }

    /// How long a worker has to be idle before it is ended; 10 s unless said otherwise.
    pub fn stop(mut self, delay: Duration) -> Self {
        self.rules.stop = delay;
        self
    }

    /// Calls that may wait for a worker; any number unless said otherwise. Behind that,
    /// [`call`](Pool::call) waits, and [`try_call`](Pool::try_call) says so.
    pub fn queue_limit(mut self, calls: usize) -> Self {
        self.rules.queue_limit = calls;
        self
    }

    /// A worker is recycled after so many calls: it takes no more, ends when it has done
    /// those that it has, and another is started if there is need. At least one.
    pub fn max_jobs(mut self, calls: u64) -> Self {
        self.rules.max_jobs = Some(calls.max(1));
        self
    }

    /// [`max_jobs`](Self::max_jobs) and [`max_age`](Self::max_age) are, for each worker,
    /// less by up to this part (0.0 to 1.0; 0 unless said otherwise), so that not all are
    /// recycled at once.
    pub fn jitter(mut self, part: f64) -> Self {
        self.rules.jitter = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// A worker is recycled so long after its init function has returned. If that is less than
    /// a second, those that have had no call by then are replaced after a pause, as those are
    /// that die.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.rules.max_age = Some(age);
        self
    }

    /// A worker is recycled if it has more than so many bytes in memory (its resident set
    /// now, and not its peak) after a call. This costs a look at a file in /proc for each
    /// call. To keep a call from growing beyond a limit, limit the process:
    /// [`rlimit`](Self::rlimit).
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.max_memory = Some(bytes);
        self
    }

    /// No more workers than this are being recycled at a time, whatever the reasons; any
    /// number unless said otherwise. Others wait for their turn, and go on with calls
    /// meanwhile; but not those that asked for it by [`retire`](super::retire).
    pub fn max_recycling(mut self, workers: usize) -> Self {
        self.rules.max_recycling = workers.clamp(1, MOST);
        self
    }

    /// Processes that are forked early and wait to become workers, so that the first call
    /// of a new one is a single message; none unless said otherwise. A used one is replaced
    /// once the call is on its way. Their init function has not been run. Where none can be
    /// made, or they die, that is tried again, and delays no worker.
    pub fn spares(mut self, processes: usize) -> Self {
        self.rules.spares = processes.min(MOST);
        self
    }

    /// Called for each event of a worker, with the worker's process id; one at a time. By a
    /// thread that waits for a call, or by this library's background thread: it should
    /// return soon. It may make calls, but cannot wait for them.
    pub fn on_event(mut self, on_event: impl FnMut(u32, E) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(on_event));
        self
    }

    /// Called with what concerns the pool beside its calls: a worker has died, or could not
    /// be made or initialised, an event cannot be read. One at a time; without it these go
    /// to `tracing`.
    pub fn on_error(mut self, on_error: impl FnMut(Error) + Send + 'static) -> Self {
        self.on_error = Some(Box::new(on_error));
        self
    }

    /// Called when the pool was dropped, finished or killed, all calls are over, and all
    /// workers have ended. See also [`Pool::finish`].
    pub fn on_destroy(mut self, on_destroy: impl FnOnce() + Send + 'static) -> Self {
        self.on_destroy = Some(Box::new(on_destroy));
        self
    }

    /// Builds the pool: runs the setup functions of the template, and starts the workers
    /// and spares that are wanted in advance, without waiting for them.
    ///
    /// # Errors
    /// As [`Process::fork`] and [`RpcBuilder::start`](crate::RpcBuilder::start), but for
    /// what goes wrong in a worker, which `on_error` and the calls are told. Arguments of
    /// options that make no sense anywhere (no CPU, a relative path of a control group) are
    /// errors here.
    pub fn build(self) -> Result<Pool<A, R, E>, Error> {
        let home = home::current()?;
        let template = match self.template {
            Some(template) => template,
            None => Process::new()?,
        };
        template.settle_now()?;
        let mut terms = self.terms;
        terms.max_concurrent = u32::try_from(self.rules.load).unwrap_or(u32::MAX);
        let keep_after_panic = terms.limits.keep_after_panic;
        let forward_logs = terms.forward_logs;
        let made = terms.plan()?;
        let speech = made.speech;
        let steps = self.steps;
        let prepare = move |process| steps.iter().fold(process, |process, step| step(process));
        // What can be known before any process is made.
        prepare(template.fork()?).queue().check()?;
        let log_to = forward_logs.then(|| dispatcher::get_default(Dispatch::clone));
        let on_event = self.on_event.map(|on_event| {
            let on_event = Arc::new(Mutex::new(on_event));
            let each = move |member: Weak<Member>| {
                let on_event = Arc::clone(&on_event);
                speech.event(move |event| {
                    let pid = member.upgrade().map_or(0, |member| member.pid());
                    let mut on_event = on_event.lock().unwrap_or_else(|e| e.into_inner());
                    quietly(|| on_event(pid, event));
                })
            };
            Box::new(each) as Box<_>
        });
        let plan = Plan {
            launcher: made.launcher,
            prepare: Box::new(prepare),
            log_to,
            on_event,
            on_error: self.on_error.map(Complaints::new),
            time: self.timeout,
            max_memory: self.max_memory,
            keep_after_panic,
            retries: self.retry,
            capture_stderr: self.capture_stderr,
        };
        // Workers of many pools need not be recycled at the same time either.
        let seed = std::process::id().into();
        let scheduler = Scheduler::new(self.rules, seed);
        let core = Core::new(home, plan, State::new(scheduler, template, self.on_destroy));
        // The hub reads wherever nobody waits, and keeps the times.
        home.hub()?;
        core.with_scheduler(|scheduler, now: Instant| scheduler.tick(now));
        core.make_spares();
        // One that could not be made is tried again.
        core.carry_out(core.lock(), Instant::now());
        Ok(Pool { core, speech })
    }
}

impl<A, R, E> fmt::Debug for PoolBuilder<A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder").field("worker", &self.terms.name).finish_non_exhaustive()
    }
}
