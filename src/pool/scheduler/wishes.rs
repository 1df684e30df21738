//! Who is to be recycled, and when: the turns, and the ages.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::member::WorkerId;

#[derive(Default)]
pub(super) struct Wishes {
    /// Who waits for its turn, the oldest wish first; some may have gone since.
    turns: VecDeque<WorkerId>,
    /// When those that take jobs, and have no wish yet, will be too old.
    ages: BTreeSet<(Instant, u32)>,
}

impl Wishes {
    pub(super) fn push(&mut self, worker: WorkerId) {
        self.turns.push_back(worker);
    }

    pub(super) fn pop(&mut self) -> Option<WorkerId> {
        self.turns.pop_front()
    }

    pub(super) fn remember(&mut self, due: Instant, index: u32) {
        self.ages.insert((due, index));
    }

    pub(super) fn forget(&mut self, due: Instant, index: u32) {
        self.ages.remove(&(due, index));
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.ages.first().map(|(due, _)| *due)
    }

    /// One that is too old.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u32> {
        self.ages.first().filter(|(due, _)| *due <= now)?;
        self.ages.pop_first().map(|(_, index)| index)
    }
}
