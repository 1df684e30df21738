//! Workers that are of no use: how long to wait for the next, and when to give up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rules::Restart;

/// What has run out is not there again at once: without any pause, all attempts would be
/// one loop, in which no job is ever queued and so told.
const SHORT_FOR: Duration = Duration::from_millis(1);

/// Longer than any program runs.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

#[derive(Default)]
pub(super) struct Setbacks {
    /// When workers have failed to start, since the last one that did not.
    failed: VecDeque<Instant>,
    /// How many could not be made, since then, for want of something that may be there later.
    unmade: u32,
    /// The last failure was of that kind, and nothing has been concluded from it yet.
    is_short: bool,
    starts: Pause,
    /// After those that were ready, and left before they had done anything.
    idlers: Pause,
    /// When the last of those has left.
    left: Option<Instant>,
}

/// Nothing is started for a while. What fails meanwhile was started before, and makes it
/// no longer.
#[derive(Default)]
pub(super) struct Pause {
    /// How long the last one was.
    length: Duration,
    until: Option<Instant>,
}

impl Pause {
    pub(super) fn begin(&mut self, now: Instant, restart: &Restart) {
        if self.until.is_none() {
            self.length = match self.length {
                Duration::ZERO => restart.backoff,
                length => length.saturating_mul(2),
            }
            .min(restart.backoff_max);
            let until = now.checked_add(self.length).or_else(|| now.checked_add(FOR_EVER));
            self.until = until.filter(|_| !self.length.is_zero());
        }
    }

    pub(super) fn end(&mut self, now: Instant) {
        self.until = self.until.filter(|until| *until > now);
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl Setbacks {
    /// A worker could not be made, or ended before it was ready.
    pub(super) fn failed(&mut self, now: Instant, restart: &Restart) {
        self.failed.push_back(now);
        self.prune(now, restart);
        self.pause(now, restart);
    }

    /// A worker could not be made, but that may pass.
    pub(super) fn short(&mut self, now: Instant, restart: &Restart) {
        self.unmade = self.unmade.saturating_add(1);
        self.is_short = true;
        self.pause(now, restart);
        self.starts.until = self.starts.until.max(now.checked_add(SHORT_FOR));
    }

    /// A worker has got ready, and left before it had done anything. The first one is
    /// replaced at once: it may have had its reasons.
    pub(super) fn idled(&mut self, now: Instant, restart: &Restart) {
        let before = self.left.replace(now);
        if before.is_some_and(|then| now.saturating_duration_since(then) <= restart.period) {
            self.idlers.begin(now, restart);
        } else {
            self.idlers = Pause::default();
        }
    }

    fn pause(&mut self, now: Instant, restart: &Restart) {
        self.starts.begin(now, restart);
    }

    /// A start has succeeded.
    pub(super) fn started(&mut self) {
        let Setbacks { idlers, left, .. } = std::mem::take(self);
        *self = Setbacks { idlers, left, ..Setbacks::default() };
    }

    /// A worker has done something.
    pub(super) fn worked(&mut self) {
        self.idlers = Pause::default();
        self.left = None;
    }

    /// All shall be as if nothing had failed.
    pub(super) fn forget(&mut self) {
        *self = Setbacks::default();
    }

    pub(super) fn end_pause(&mut self, now: Instant) {
        self.starts.end(now);
        self.idlers.end(now);
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.starts.until.max(self.idlers.until)
    }

    pub(super) fn too_many(&mut self, now: Instant, restart: &Restart) -> bool {
        if self.failed.is_empty() {
            return false;
        }
        self.prune(now, restart);
        self.failed.len() >= restart.intensity.max(1) as usize
    }

    /// Whether there has been one more that could not be made, after many. Says so once.
    pub(super) fn take_short(&mut self, restart: &Restart) -> bool {
        std::mem::take(&mut self.is_short) && self.unmade >= restart.intensity.max(1)
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
