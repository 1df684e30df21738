//! How many spares there are, and how many are on their way.

use std::time::{Duration, Instant};

use super::rules::Restart;
use super::setbacks::Pause;

/// Where none can be made, it is tried so seldom in the end: nobody waits for one, and it
/// may mean to make the template again.
const RARELY: Duration = Duration::from_secs(60);
/// And never without a pause, whatever was asked for workers.
const NOT_AT_ONCE: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct Spares {
    /// Those that there are, and those that are being made or will be asked for.
    total: usize,
    /// Those that there are.
    made: usize,
    /// Those that will be asked for, behind the other actions.
    due: usize,
    /// After one that could not be made, or has died. Workers do not wait for that: they
    /// can be made without.
    pause: Pause,
}

impl Spares {
    pub(super) fn restock(&mut self, wanted: usize) {
        let missing = wanted.saturating_sub(self.total);
        self.total += missing;
        self.due += missing;
    }

    pub(super) fn take_due(&mut self) -> usize {
        std::mem::take(&mut self.due)
    }

    /// What has not been asked for will not be.
    pub(super) fn cancel_due(&mut self) {
        self.total -= self.take_due();
    }

    pub(super) fn arrived(&mut self) {
        self.made = (self.made + 1).min(self.asked());
    }

    /// One that was there, or was being made. It need not be known which: if it was there,
    /// and another is being made, then `made` is one too many until that one arrives.
    pub(super) fn lost(&mut self) {
        if self.asked() > 0 {
            self.total -= 1;
            self.made = self.made.min(self.asked());
        }
    }

    pub(super) fn used(&mut self) {
        if self.made > 0 {
            self.total -= 1;
            self.made -= 1;
        }
    }

    pub(super) fn pause(&mut self, now: Instant, restart: &Restart) {
        let backoff = restart.backoff.max(NOT_AT_ONCE);
        let backoff_max = restart.backoff_max.max(RARELY);
        self.pause.begin(now, &Restart { backoff, backoff_max, ..*restart });
    }

    pub(super) fn end_pause(&mut self, now: Instant) {
        self.pause.end(now);
    }

    /// Processes can be made: so can these.
    pub(super) fn end_trouble(&mut self) {
        self.pause = Pause::default();
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.pause.until()
    }

    /// Those that there are will not be used.
    pub(super) fn end(&mut self) {
        *self = Spares::default();
    }

    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// Asked for, and not answered yet.
    pub(super) fn on_their_way(&self) -> usize {
        self.asked() - self.made
    }

    fn asked(&self) -> usize {
        self.total - self.due
    }
}
