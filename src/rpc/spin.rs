//! Looking again and again for a moment before sleeping: waking a process costs more
//! than a short call.
//!
//! It is worth it only while answers come at once, and never on a single CPU, where
//! whoever is to answer cannot run meanwhile. So it begins after a few waits that were
//! short, and ends with a few that were not. Where it is in vain again and again (other
//! programs have the other CPUs, or a call takes a little longer than this looks) it rests
//! for many waits, and more of them each time. An idle side sleeps. Whoever knows that an
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

/// So many waits in a row are looked for in vain before it rests. Both sides have to look at
/// the same time, so it takes a few.
const TRIES: u32 = 16;
/// Waits for which it rests first; later for twice as many each time, up to sixteen times. The
/// two sides differ, so that they do not rest by turns for ever.
pub(super) const PARENT_RESTS: u32 = 64;
pub(super) const WORKER_RESTS: u32 = 80;
const LONGEST: u32 = 16;

/// So many are not looked for after one that was expected and did not come.
const SKIPS: u32 = 4;
static IN_VAIN: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub(super) struct Spin {
    allowed: bool,
    credit: u8,
    /// Looked for in vain, in a row.
    vain: u32,
    /// Waits that are not looked for now.
    rest: u32,
    /// For how many it rests the first time, and the next.
    first_rest: u32,
    next_rest: u32,
    /// Answers come before this, most likely.
    expected: Option<Instant>,
}

impl Spin {
    /// Looks in advance how many CPUs there are.
    pub(super) fn prepare() {
        several_cpus();
    }

    /// `rests` is the number for this side.
    pub(super) fn new(wanted: bool, rests: u32) -> Spin {
        Spin {
            allowed: wanted && several_cpus(),
            credit: 0,
            vain: 0,
            rest: 0,
            first_rest: rests,
            next_rest: rests,
            expected: None,
        }
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
        self.allowed && (self.looks_usually() || self.expected.is_some())
    }

    fn looks_usually(&self) -> bool {
        self.credit >= BEGINS && self.rest == 0
    }

    fn in_vain(&mut self) {
        self.vain += 1;
        if self.vain >= TRIES {
            self.vain = 0;
            self.rest = self.next_rest;
            self.next_rest = (2 * self.next_rest).min(LONGEST * self.first_rest);
        }
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
        if self.rest > 0 && self.expected.is_none() {
            self.rest -= 1;
            return sleep();
        }
        let start = Instant::now();
        self.expected = self.expected.filter(|until| *until > start);
        if self.looks() {
            let looks_usually = self.looks_usually();
            let usual = if looks_usually { LOOK } else { Duration::ZERO };
            let most = self.expected.map_or(usual, |until| usual.max(until - start));
            loop {
                if let Some(found) = ready() {
                    self.credit = (self.credit + 1).min(MOST);
                    (self.vain, self.next_rest) = (0, self.first_rest);
                    return found;
                }
                if start.elapsed() >= most {
                    break;
                }
                std::hint::spin_loop();
            }
            if looks_usually {
                self.in_vain();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_where_it_is_in_vain_and_tries_again() {
        let mut spin = Spin { allowed: true, ..Spin::new(true, WORKER_RESTS) };
        let mut looked = 0;
        for _ in 0..5000 {
            let before = looked;
            let mut first = true;
            spin.wait(
                || {
                    looked += usize::from(std::mem::take(&mut first));
                    None
                },
                || (),
            );
            assert!(looked - before <= 1);
        }
        // At 0, 96, 272, 608, 1264, 2560 and 3856, if the credit lasts that long.
        assert!(looked <= 7 * TRIES as usize, "{looked}");
        let found = (0..10_000).find(|_| spin.wait(|| Some(true), || false));
        assert!(found.is_some(), "it never looks again");
        assert!(spin.next_rest == WORKER_RESTS && spin.vain == 0);
    }
}
