//! What `lead.rs` synchronises with: the model checker's primitives, which choose
//! the order of everything, and a clock that stands still until the model moves it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{LockResult, Mutex as StdMutex};
use std::time::Duration;

pub use shuttle::sync::{Arc, Mutex, MutexGuard};

// Those of the standard library, on purpose: reading the clock is no step that the
// checker could put something in between, as it is none that matters.
static CLOCK: AtomicU64 = AtomicU64::new(0);
static TIMED: StdMutex<Vec<Arc<shuttle::sync::Condvar>>> = StdMutex::new(Vec::new());

/// A moment of the model's clock, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// Now.
    pub fn now() -> Instant {
        Instant(CLOCK.load(Ordering::SeqCst))
    }

    /// As that of the standard library.
    pub fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment so much later.
    pub fn after(self, by: Duration) -> Instant {
        Instant(self.0 + by.as_nanos() as u64)
    }
}

/// Sets the clock to its start; for the begin of an execution.
pub fn reset() {
    CLOCK.store(0, Ordering::SeqCst);
    TIMED.lock().unwrap_or_else(|e| e.into_inner()).clear();
}

/// Moves the clock so many steps; then goes on waking those who wait for it until
/// nobody does, since the checker may let a tick fall just before a sleep. (If one
/// slept on for another reason, the checker would find that this never ends.)
pub fn run_clock(steps: u32, step: Duration, sleepers: &AtomicUsize) {
    for _ in 0..steps {
        shuttle::thread::yield_now();
        advance(step);
    }
    while sleepers.load(Ordering::SeqCst) > 0 {
        shuttle::thread::yield_now();
        advance(Duration::ZERO);
    }
}

fn advance(by: Duration) {
    CLOCK.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    let timed = TIMED.lock().unwrap_or_else(|e| e.into_inner()).clone();
    for bell in timed {
        bell.notify_all();
    }
}

/// Condition variables whose timeouts hang on the model's clock.
#[derive(Debug, Default)]
pub struct Condvar {
    bell: Arc<shuttle::sync::Condvar>,
}

/// Whether a wait ended because its time was over.
#[derive(Clone, Copy, Debug)]
pub struct WaitTimeoutResult(bool);

impl Condvar {
    /// A new one.
    pub fn new() -> Condvar {
        Condvar::default()
    }

    /// As that of the standard library.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.bell.wait(guard)
    }

    /// As that of the standard library; it may wake for no reason, as that one may.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        TIMED.lock().unwrap_or_else(|e| e.into_inner()).push(Arc::clone(&self.bell));
        let end = Instant::now().after(limit);
        let guard = self.bell.wait(guard).unwrap_or_else(|e| e.into_inner());
        Ok((guard, WaitTimeoutResult(Instant::now() >= end)))
    }

    /// As that of the standard library.
    pub fn notify_one(&self) {
        self.bell.notify_one();
    }

    /// As that of the standard library.
    pub fn notify_all(&self) {
        self.bell.notify_all();
    }
}
