//! Descriptors as they arrive: matched with their frames by order alone.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::frame::{Head, Kind, Malformed};
use crate::sys::fdpass::MAX_FDS;
use crate::sys::fds::open_limit;

/// Where they are bounded, as many are taken in in any case: a program that allows itself fewer
/// than a few hundred finds out by itself when there is no room.
const FEW: usize = 64;
/// With fewer descriptors of later frames than this, more frames may be taken in.
const AHEAD: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Parcels {
    /// One for each message that had any.
    waiting: VecDeque<Parcel>,
    /// Those that went ahead of the frame that comes next.
    ahead: Option<Parcel>,
    /// The other side is not to have as many open here as it likes.
    bounded: bool,
}

/// The descriptors of one message.
#[derive(Debug, Default)]
struct Parcel {
    fds: Vec<OwnedFd>,
    /// There was no room for all of them in this process: then none is kept.
    lost: bool,
}

impl Parcels {
    /// What is here before its frame is then a part of the limit of this process at most.
    pub(super) fn bound(&mut self) {
        self.bounded = true;
    }

    /// The same, empty.
    pub(super) fn without_any(&self) -> Parcels {
        Parcels { bounded: self.bounded, ..Parcels::default() }
    }

    pub(super) fn arrived(&mut self, mut fds: Vec<OwnedFd>, mut lost: bool) {
        lost |= self.bounded && self.are_too_many(self.count() + fds.len());
        if lost {
            // What is left of them is of no use, and there is no room.
            fds.clear();
        }
        self.waiting.push_back(Parcel { fds, lost });
    }

    fn are_too_many(&self, fds: usize) -> bool {
        fds > FEW && fds > open_limit() as usize / 4
    }

    fn count(&self) -> usize {
        let ahead = self.ahead.as_ref().map_or(0, |p| p.fds.len());
        ahead + self.waiting.iter().map(|p| p.fds.len()).sum::<usize>()
    }

    /// Whether a frame has to follow.
    pub(super) fn are_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    pub(super) fn may_wait_for_more(&self) -> bool {
        self.count() < AHEAD
    }

    /// What can be said against a frame by its header.
    #[inline]
    pub(super) fn check(&self, head: Head) -> Result<(), Malformed> {
        if head.fds == 0 && head.kind != Kind::Fds && self.ahead.is_none() {
            return Ok(());
        }
        self.check_fds(head)
    }

    fn check_fds(&self, head: Head) -> Result<(), Malformed> {
        match head.kind {
            _ if head.fds as usize > MAX_FDS => {
                Err(Malformed("more descriptors than one message has"))
            }
            Kind::Fds if head.fds == 0 || head.length > 0 => {
                Err(Malformed("a frame for descriptors, and not with them alone"))
            }
            Kind::Fds => Ok(()),
            // In place of what was to follow.
            Kind::Void | Kind::Failed if head.fds == 0 => Ok(()),
            Kind::Call | Kind::Reply | Kind::Event | Kind::Ring if head.fds > 0 => Ok(()),
            _ => Err(Malformed("descriptors where none belong")),
        }
    }

    /// No more messages with descriptors may have come than one, if the next frame, which
    /// has not come whole, has some; else none.
    pub(super) fn of_this_one(&self, fds: u32) -> Result<(), Malformed> {
        if self.waiting.len() > usize::from(fds > 0) {
            return Err(Malformed("descriptors where none belong"));
        }
        Ok(())
    }

    /// Keeps those of a frame of kind Fds.
    pub(super) fn keep(&mut self, head: Head) -> Result<(), Malformed> {
        let parcel = self.take(head)?;
        let ahead = self.ahead.get_or_insert_default();
        ahead.lost |= parcel.lost;
        if ahead.lost {
            ahead.fds = Vec::new();
        } else {
            ahead.fds.extend(parcel.fds);
        }
        Ok(())
    }

    /// Those of a frame that has come whole, and whether some were lost.
    pub(super) fn of(&mut self, head: Head) -> Result<(Vec<OwnedFd>, bool), Malformed> {
        if head.fds == 0 {
            // Void and Failed stand for a frame that was not sent after all.
            self.ahead = None;
            return Ok((Vec::new(), false));
        }
        let parcel = self.take(head)?;
        let Some(mut ahead) = self.ahead.take() else { return Ok((parcel.fds, parcel.lost)) };
        if parcel.lost || ahead.lost {
            return Ok((Vec::new(), true));
        }
        ahead.fds.extend(parcel.fds);
        Ok((ahead.fds, false))
    }

    fn take(&mut self, head: Head) -> Result<Parcel, Malformed> {
        let parcel = self.waiting.pop_front().ok_or(Malformed("descriptors that have not come"))?;
        if parcel.fds.len() != head.fds as usize && !parcel.lost {
            return Err(Malformed("not as many descriptors as were announced"));
        }
        Ok(parcel)
    }
}
