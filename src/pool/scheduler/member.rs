//! One worker, as the scheduler sees it.

use std::time::Instant;

use super::State;
use super::line::NONE;

/// A worker, as long as it is in the slab. A late message about one that is gone finds
/// another generation, or none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WorkerId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl WorkerId {
    /// A small number; no two workers have the same at a time.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Vacant,
    /// It takes jobs, though it may have to get ready first.
    Taking,
    /// It is retired, and works off what it has.
    Leaving,
    /// It has been told to end.
    Finishing,
    /// It is dying of itself.
    Down,
}

/// One cache line each: with thousands of workers, what a job costs is the lines it
/// touches.
#[repr(align(64))]
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// Since when it has been idle, if it is.
    pub(super) since: Instant,
    /// When it will be too old, once it is ready.
    pub(super) due: Option<Instant>,
    /// Jobs until it is to be recycled.
    pub(super) left: u64,
    pub(super) load: u32,
    pub(super) prev: u32,
    pub(super) next: u32,
    pub(super) generation: u32,
    pub(super) phase: Phase,
    pub(super) ready: bool,
    /// It is to be recycled when its turn comes.
    pub(super) wished: bool,
    /// It counts for `max_recycling`.
    pub(super) away: bool,
    /// Its failed start has been counted.
    pub(super) blamed: bool,
    /// It has done a job.
    pub(super) worked: bool,
}

const _: () = assert!(size_of::<Member>() == 64);

impl Member {
    pub(super) fn starting(now: Instant, left: u64) -> Member {
        Member {
            since: now,
            due: None,
            left,
            load: 0,
            prev: NONE,
            next: NONE,
            generation: 0,
            phase: Phase::Taking,
            ready: false,
            wished: false,
            away: false,
            blamed: false,
            worked: false,
        }
    }

    pub(super) fn state(&self) -> Option<State> {
        Some(match self.phase {
            Phase::Vacant => return None,
            Phase::Taking if !self.ready => State::Starting,
            Phase::Taking if self.load == 0 => State::Idle,
            Phase::Taking => State::Busy,
            Phase::Leaving | Phase::Finishing => State::Retiring,
            Phase::Down => State::Down,
        })
    }
}
