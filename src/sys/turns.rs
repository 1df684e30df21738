//! A fork of the program waits until this library's own threads are between two turns: what
//! they hold at that moment, locks and half-done work, nobody has in the fork.
//!
//! It is done by the C library, in the process that forks (pthread_atfork(3)). A turn may call
//! the program's code, which may wait for what the thread that forks holds: so a fork waits for
//! a while, and then goes on. Whoever takes over there must see to locks that stay taken.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::alone::pthread_atfork;
use super::futex::{self, wake};

/// Of either for the other. A turn takes microseconds; longer only if the program's code runs
/// in it, or others have the CPU. A fork takes milliseconds; longer only if what another
/// library does before it takes long, or has to wait for a turn. (No test is to depend on
/// how long others have the CPU.)
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 2_000 } else { 1_000 });

static GATE: Gate = Gate::new();

thread_local! {
    /// This thread's turns: one, or one within another.
    static OWN: Cell<u32> = const { Cell::new(0) };
    /// It forks, and has closed the gate.
    static FORKS: Cell<bool> = const { Cell::new(false) };
}

/// From now on forks wait for turns.
pub(crate) fn respect() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // SAFETY: the functions may be called in any thread that forks, and in the fork: they
        // use atomic numbers and system calls. If there is no memory to note them, forks
        // do not wait.
        unsafe { pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
    }
}

/// This thread is at work, until it is dropped.
pub(crate) struct Turn(());

impl Turn {
    /// Waits for the end of a fork that is under way.
    pub(crate) fn begin() -> Turn {
        if OWN.replace(OWN.get() + 1) == 0 {
            GATE.enter();
        }
        Turn(())
    }

    /// Whether this thread is at work.
    pub(crate) fn is_here() -> bool {
        OWN.get() > 0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if OWN.replace(OWN.get() - 1) == 1 {
            GATE.leave();
        }
    }
}

/// Whoever is at work waits for something, and holds nothing meanwhile.
pub(crate) fn asleep<T>(wait: impl FnOnce() -> T) -> T {
    let own = OWN.replace(0);
    if own == 0 {
        return wait();
    }
    GATE.leave();
    let come = wait();
    OWN.set(own);
    GATE.enter();
    come
}

unsafe extern "C" fn prepare() {
    // In vain if it is this thread that has closed it, and a signal handler forks.
    FORKS.set(GATE.close());
    // Not for itself.
    GATE.wait_for_turns(OWN.get().min(1));
}

unsafe extern "C" fn in_parent() {
    if FORKS.replace(false) {
        GATE.open();
    }
}

unsafe extern "C" fn in_child() {
    // The other threads are not here.
    FORKS.set(false);
    GATE.turns.store(OWN.get().min(1), Ordering::Relaxed);
    GATE.long.store(0, Ordering::Relaxed);
    GATE.closed.store(OPEN, Ordering::Release);
}

struct Gate {
    /// A lock, of one fork or of one turn that begins: no turn begins during a fork, nor
    /// while one waits for the turns that have begun.
    closed: AtomicU32,
    /// Under way.
    turns: AtomicU32,
    /// Of these, for so many a fork has waited in vain: none waits for them again.
    long: AtomicU32,
}

const OPEN: u32 = 0;
const CLOSED: u32 = 1;
/// The same, and somebody waits for it.
const AWAITED: u32 = 2;

impl Gate {
    const fn new() -> Gate {
        Gate { closed: AtomicU32::new(OPEN), turns: AtomicU32::new(0), long: AtomicU32::new(0) }
    }

    fn enter(&self) {
        let closed = self.close();
        self.turns.fetch_add(1, Ordering::SeqCst);
        if closed {
            self.open();
        }
    }

    fn leave(&self) {
        let left = self.turns.fetch_sub(1, Ordering::SeqCst) - 1;
        if self.long.load(Ordering::Relaxed) > left {
            self.long.fetch_min(left, Ordering::Relaxed);
        }
        // Whoever waits for it has closed the gate before it looked.
        if self.closed.load(Ordering::SeqCst) != OPEN {
            wake(&self.turns);
        }
    }

    /// Once nobody else has it closed; not if that takes longer.
    fn close(&self) -> bool {
        let (good, failed) = (Ordering::SeqCst, Ordering::Relaxed);
        if self.closed.compare_exchange(OPEN, CLOSED, good, failed).is_ok() {
            return true;
        }
        let start = Instant::now();
        while self.closed.swap(AWAITED, Ordering::SeqCst) != OPEN {
            if !sleep_on(&self.closed, AWAITED, start) {
                return false;
            }
        }
        true
    }

    fn open(&self) {
        if self.closed.swap(OPEN, Ordering::SeqCst) == AWAITED {
            wake(&self.closed);
        }
    }

    /// By whoever has closed it. Whether there are none left but its own.
    fn wait_for_turns(&self, own: u32) -> bool {
        let start = Instant::now();
        loop {
            let turns = self.turns.load(Ordering::SeqCst);
            let others = turns.saturating_sub(own);
            if others <= self.long.load(Ordering::Relaxed) {
                return others == 0;
            }
            if !sleep_on(&self.turns, turns, start) {
                self.long.store(others, Ordering::Relaxed);
            }
        }
    }
}

/// Sleeps until the number is another, or for no reason; whether there is patience left.
fn sleep_on(number: &AtomicU32, known: u32, since: Instant) -> bool {
    futex::sleep_on(number, known, Some(PATIENCE.saturating_sub(since.elapsed())));
    since.elapsed() < PATIENCE
}

#[cfg(test)]
mod tests;
