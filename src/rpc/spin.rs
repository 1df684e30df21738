//! Looking again and again for a moment before sleeping: waking a process costs more
//! than a short call.
//!
//! It is worth it only while answers come at once, and never on a single CPU, where
//! whoever is to answer cannot run meanwhile. So it begins after a few waits that were
//! short, and ends with a few that were not. An idle side sleeps. Whoever knows that an
//! answer will come soon can say so.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long to look.
const LOOK: Duration = Duration::from_micros(20);
/// A wait that was no longer than this, two wake-ups included, would have been short
/// enough if both sides had looked.
const SHORT: Duration = Duration::from_micros(120);
/// Short waits before it begins.
const BEGINS: u8 = 2;
/// The most credit that short waits give; each wait that was looked for in vain takes one.
const MOST: u8 = 8;

/// So many are not looked for after one that was expected and did not come.
const SKIPS: u32 = 4;
static IN_VAIN: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub(super) struct Spin {
    allowed: bool,
    credit: u8,
    /// Answers come before this, most likely.
    expected: Option<Instant>,
}

impl Spin {
    /// Looks in advance how many CPUs there are.
    pub(super) fn prepare() {
        several_cpus();
    }

    pub(super) fn new(wanted: bool) -> Spin {
        Spin { allowed: wanted && several_cpus(), credit: 0, expected: None }
    }

    /// For so long, waits begin with looking; unless that was in vain for others a short
    /// while ago, as it is where each CPU has something else to do.
    pub(super) fn expect_within(&mut self, time: Duration) {
        let skip = IN_VAIN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if skip.is_err() {
            self.expected = Instant::now().checked_add(time);
        }
    }

    /// Whether the next wait begins with looking.
    pub(super) fn looks(&self) -> bool {
        self.allowed && (self.credit >= BEGINS || self.expected.is_some())
    }

    /// Looks with `ready` for a while, if that is worth it, and then waits with `sleep`.
    pub(super) fn wait<T>(
        &mut self,
        mut ready: impl FnMut() -> Option<T>,
        sleep: impl FnOnce() -> T,
    ) -> T {
        if !self.allowed {
            return sleep();
        }
        let start = Instant::now();
        self.expected = self.expected.filter(|until| *until > start);
        if self.looks() {
            let usual = if self.credit >= BEGINS { LOOK } else { Duration::ZERO };
            let most = self.expected.map_or(usual, |until| usual.max(until - start));
            loop {
                if let Some(found) = ready() {
                    self.credit = (self.credit + 1).min(MOST);
                    return found;
                }
                if start.elapsed() >= most {
                    break;
                }
                std::hint::spin_loop();
            }
            if self.expected.take().is_some() {
                IN_VAIN.store(SKIPS, Ordering::Relaxed);
            }
        }
        let result = sleep();
        if start.elapsed() <= SHORT {
            self.credit = (self.credit + 1).min(MOST);
        } else {
            self.credit = self.credit.saturating_sub(2);
        }
        result
    }
}

fn several_cpus() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| {
        let own = nix::unistd::Pid::from_raw(0);
        nix::sched::sched_getaffinity(own).is_ok_and(|set| {
            (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count()
                > 1
        })
    })
}
