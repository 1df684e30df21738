//! Starts that failed: how long to wait for the next, and when to give up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rules::Restart;

#[derive(Default)]
pub(super) struct Setbacks {
    /// When workers have failed to start, since the last one that did not.
    failed: VecDeque<Instant>,
    /// How long the last pause was.
    pause: Duration,
    /// Nothing is started before.
    until: Option<Instant>,
}

impl Setbacks {
    /// A worker could not be made, or ended before it was ready.
    pub(super) fn failed(&mut self, now: Instant, restart: &Restart) {
        self.failed.push_back(now);
        self.prune(now, restart);
        self.pause(now, restart);
    }

    /// Nothing is started for a while. What fails during a pause was started before it,
    /// and makes it no longer.
    pub(super) fn pause(&mut self, now: Instant, restart: &Restart) {
        if self.until.is_none() {
            self.pause = match self.pause {
                Duration::ZERO => restart.backoff,
                pause => pause.saturating_mul(2),
            }
            .min(restart.backoff_max);
            self.until = now.checked_add(self.pause).filter(|_| !self.pause.is_zero());
        }
    }

    /// A start has succeeded, or all shall be as if.
    pub(super) fn forget(&mut self) {
        *self = Setbacks::default();
    }

    pub(super) fn end_pause(&mut self, now: Instant) {
        self.until = self.until.filter(|until| *until > now);
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn too_many(&mut self, now: Instant, restart: &Restart) -> bool {
        if self.failed.is_empty() {
            return false;
        }
        self.prune(now, restart);
        self.failed.len() >= restart.intensity.max(1) as usize
    }

    fn prune(&mut self, now: Instant, restart: &Restart) {
        let long_ago = |failed: &Instant| now.saturating_duration_since(*failed) > restart.period;
        while self.failed.front().is_some_and(long_ago)
            || self.failed.len() > restart.intensity.max(1) as usize
        {
            self.failed.pop_front();
        }
    }
}
