//! Looking again and again for a moment before sleeping: waking a process costs more
//! than a short call.
//!
//! It is worth it only while answers come at once, and never on a single CPU, where
//! whoever is to answer cannot run meanwhile. So it begins after a few waits that were
//! short, and ends with a few that were not. An idle side sleeps.

use std::sync::OnceLock;
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

#[derive(Debug)]
pub(super) struct Spin {
    allowed: bool,
    credit: u8,
}

impl Spin {
    /// Looks in advance how many CPUs there are.
    pub(super) fn prepare() {
        several_cpus();
    }

    pub(super) fn new(wanted: bool) -> Spin {
        Spin { allowed: wanted && several_cpus(), credit: 0 }
    }

    /// Whether the next wait begins with looking.
    pub(super) fn looks(&self) -> bool {
        self.allowed && self.credit >= BEGINS
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
        if self.looks() {
            loop {
                if let Some(found) = ready() {
                    self.credit = (self.credit + 1).min(MOST);
                    return found;
                }
                if start.elapsed() >= LOOK {
                    break;
                }
                std::hint::spin_loop();
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
