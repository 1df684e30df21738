//! What a pool is told: how many, how long, how often.

use std::time::{Duration, Instant};

use super::dice::Dice;

/// Counts of zero are taken as one where nothing would ever happen otherwise: `max`,
/// `load`, `max_recycling`, `intensity`.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Workers that take jobs.
    pub(crate) max: usize,
    /// Idle workers that are kept.
    pub(crate) idle: usize,
    /// Jobs that one worker is given at once.
    pub(crate) load: usize,
    /// How long all workers must be busy before there is one more.
    pub(crate) start: Duration,
    /// How long a worker must be idle before it is ended.
    pub(crate) stop: Duration,
    /// Jobs that may be queued; `usize::MAX` for any number.
    pub(crate) queue_limit: usize,
    /// A worker is recycled after so many jobs. What is changed here, and in `jitter`
    /// and `max_age`, holds for workers that are started (an age:
    /// that get ready) from then on.
    pub(crate) max_jobs: Option<u64>,
    /// By how much of either limit it may be less, so that workers that were started
    /// together are not recycled together: 0 to 1.
    pub(crate) jitter: f64,
    /// A worker is recycled so long after it got ready.
    pub(crate) max_age: Option<Duration>,
    /// How many may be away at once: retired or dying, and not gone yet.
    pub(crate) max_recycling: usize,
    /// Processes that are forked early, waiting to be told what they are.
    pub(crate) spares: usize,
    pub(crate) restart: Restart,
}

/// What is done about starts that fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restart {
    /// So many failed starts in a row, within `period`, break the pool.
    pub(crate) intensity: u32,
    pub(crate) period: Duration,
    /// For how long nothing is started after the first; doubled each time.
    pub(crate) backoff: Duration,
    pub(crate) backoff_max: Duration,
}

impl Rules {
    pub(super) fn max(&self) -> usize {
        self.max.max(1)
    }

    pub(super) fn max_recycling(&self) -> usize {
        self.max_recycling.max(1)
    }

    /// How many jobs a new worker gets before it is recycled.
    pub(super) fn draw_jobs(&self, dice: &mut Dice) -> u64 {
        match self.max_jobs {
            None => u64::MAX,
            Some(most) => {
                let spread = (most as f64 * self.spread()) as u64;
                most.saturating_sub(dice.up_to(spread)).max(1)
            }
        }
    }

    /// When a worker that is ready now is to be recycled. One that is too far off is never.
    pub(super) fn draw_age(&self, dice: &mut Dice, now: Instant) -> Option<Instant> {
        let most = self.max_age?;
        // From 600 years on, any age will do.
        let spread = (most.as_nanos() as f64 * self.spread()) as u64;
        let less = Duration::from_nanos(dice.up_to(spread));
        now.checked_add(most.saturating_sub(less))
    }

    fn spread(&self) -> f64 {
        // What is not a number compares as neither, and becomes zero.
        if self.jitter > 0.0 { self.jitter.min(1.0) } else { 0.0 }
    }
}
