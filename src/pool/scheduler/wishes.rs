//! Who is to be recycled, and when: the turns, and the ages.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::member::WorkerId;

#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) worker: WorkerId,
    /// Everybody is replaced, so that this one's turn comes when the one that has taken
    /// the last one's place has shown that it works.
    pub(super) reload: bool,
}

#[derive(Default)]
pub(super) struct Wishes {
    /// Who waits for its turn, the oldest wish first; some may have gone since.
    turns: VecDeque<Wish>,
    /// When those that take jobs, and have no wish yet, will be too old.
    ages: BTreeSet<(Instant, u32)>,
}

impl Wishes {
    pub(super) fn push(&mut self, worker: WorkerId, reload: bool) {
        self.turns.push_back(Wish { worker, reload });
    }

    /// Before all others.
    pub(super) fn push_front(&mut self, worker: WorkerId) {
        self.turns.push_front(Wish { worker, reload: false });
    }

    pub(super) fn first(&self) -> Option<Wish> {
        self.turns.front().copied()
    }

    pub(super) fn pop(&mut self) {
        self.turns.pop_front();
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
