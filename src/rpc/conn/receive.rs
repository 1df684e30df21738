//! Receiving: who reads, and how long he waits.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::frame::Malformed;
use super::super::handlers::quietly;
use super::super::inbox::Arrived;
use super::bell::{LOOKS_EVERY, Listens};
use super::fill::HeldUp;
use super::look::SLEEPS;
use super::{Conn, Reader, lock};
use crate::error::Fault;
use crate::lead::Seat;
use crate::sys::ring::Nonsense;

/// Frames that the hub hands out before others have their turn. So many take much longer
/// than to come back to them, and less than a millisecond if what they call does little.
pub(super) const TURN: usize = 256;

impl Conn {
    /// Waits until `done` has a result, handing out what arrives meanwhile. `sit` makes a
    /// seat that is rung when it has.
    pub(crate) fn wait<T>(
        &self,
        sit: impl FnMut() -> Arc<Seat>,
        deadline: Option<Instant>,
        done: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        self.wait_for(false, sit, deadline, done)
    }

    /// The same; `room` is it that is waited for.
    pub(super) fn wait_for<T>(
        &self,
        room: bool,
        sit: impl FnMut() -> Arc<Seat>,
        deadline: Option<Instant>,
        mut done: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        if let Some(result) = done() {
            // Nothing has been read for that, nor was to be.
            return Some(result);
        }
        let mut listens = None;
        let pump = |deadline| self.pump(deadline, room, &mut listens);
        let result = self.lead.wait_on(sit, deadline, done, pump);
        drop(listens);
        self.arm_soon();
        result
    }

    /// One turn of the hub, on which other connections wait: what is left comes with the
    /// next one.
    pub(super) fn take_turn(&self) {
        if self.is_calling_back() || self.is_left_to_another() {
            return;
        }
        self.lead.poll(|| {
            self.drain(&mut lock(&self.reader), TURN, || false);
        });
        if !self.is_left_to_another() {
            self.arm_by(Duration::ZERO);
        }
    }

    /// Somebody reads, and will have the hub look out; but the end of the process is for
    /// whoever learns of it.
    fn is_left_to_another(&self) -> bool {
        self.handlers.is_attended() && lock(&self.exit).is_none()
    }

    /// Hands out what has arrived, up to `most` frames, without waiting; whether there may
    /// be more. For one who comes back for the rest, or has the hub look out: it does not
    /// meanwhile.
    pub(crate) fn hand_out_here(&self, most: usize) -> bool {
        let mut more = false;
        self.lead.poll(|| {
            self.set_interest(|interest| interest.read = false);
            self.ring.get().inspect(|ring| ring.wake());
            more = self.drain(&mut lock(&self.reader), most, || false);
        });
        more
    }

    /// Hands out up to `most` frames, or what is enough, without waiting; whether there may
    /// be more, and that is not enough.
    pub(super) fn drain(
        &self,
        reader: &mut Reader,
        most: usize,
        mut enough: impl FnMut() -> bool,
    ) -> bool {
        let mut left = most;
        loop {
            while left > 0 && self.step(reader) {
                left -= 1;
                if enough() {
                    return false;
                }
            }
            if left == 0 {
                return true;
            }
            if reader.ended.is_some() || !self.fill(reader) {
                break;
            }
        }
        if reader.ended.is_some() {
            self.settle(reader);
        }
        false
    }

    /// Hands out one frame, waiting for it until the deadline. Where another thread may
    /// bring what is waited for, it listens, and has that looked for, before it sleeps.
    fn pump<'a>(
        &'a self,
        deadline: Option<Instant>,
        room: bool,
        listens: &mut Option<Listens<'a>>,
    ) {
        if self.watched.load(Ordering::Acquire) {
            self.set_interest(|interest| interest.read = false);
        }
        let mut reader = lock(&self.reader);
        if self.step(&mut reader) {
            return;
        }
        if reader.ended.is_some() {
            self.settle_patiently(&mut reader, deadline);
            return;
        }
        if deadline.is_some() {
            self.flush_with(self.state());
        } else {
            match self.wait_to_read(&mut reader, room) {
                Ok(true) => {
                    // Most often it is what is waited for.
                    self.step(&mut reader);
                    return;
                }
                Ok(false) => return,
                Err(HeldUp) => {}
            }
        }
        let (waits_to_send, by_others) = {
            let state = self.state();
            // Else it is the worker alone who can bring something.
            (state.blocked, state.is_held_up() && (room || !state.blocked))
        };
        if self.fill(&mut reader) || (deadline.is_none() && !waits_to_send && !by_others) {
            return;
        }
        if by_others && listens.is_none() {
            *listens = Some(self.bell.listen());
            return;
        }
        let listens = listens.take().filter(|_| by_others);
        let bell = listens.as_ref().and_then(Listens::event);
        let deadline = match &listens {
            Some(_) if bell.is_none() => {
                let look = Instant::now() + LOOKS_EVERY;
                Some(deadline.map_or(look, |deadline| deadline.min(look)))
            }
            _ => deadline,
        };
        let events =
            PollFlags::POLLIN | if waits_to_send { PollFlags::POLLOUT } else { PollFlags::empty() };
        let socket = self.child.stream().as_fd();
        let bell_too = PollFd::new(bell.unwrap_or(socket), PollFlags::POLLIN);
        let mut polled = [PollFd::new(socket, events), bell_too];
        let polled = &mut polled[..1 + usize::from(bell.is_some())];
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up: a poll of 0 ms would spin through the last millisecond.
            PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let position = reader.inbox.consumed();
        let ring = self.ring.get();
        if ring.is_none_or(|ring| ring.sleep(position)) {
            // What there is to do is found by the next turn.
            self.reads(SLEEPS);
            let _ = poll(polled, timeout);
            self.has_read(&reader);
            ring.inspect(|ring| ring.wake());
        }
    }

    /// Hands out one frame, if a whole one is there.
    fn step(&self, reader: &mut Reader) -> bool {
        if reader.broken {
            return false;
        }
        let Reader { inbox, record, .. } = reader;
        let ring = self.ring.get().map_or(Ok(false), |r| r.pop(inbox.consumed(), record));
        let arrived = match ring {
            // What is in the ring for this place was made before what comes next here.
            Ok(true) => Arrived::whole(record).map(Some),
            Ok(false) => inbox.next(),
            Err(Nonsense) => Err(Malformed("nonsense in the ring")),
        };
        let handed_out = match arrived {
            Ok(None) => return false,
            // The user's code is called there: drops of values, too.
            Ok(Some(arrived)) => quietly(|| self.hand_out(arrived)).unwrap_or(Ok(())),
            Err(why) => Err(Fault::Protocol(why.0)),
        };
        self.position.store(reader.inbox.consumed(), Ordering::Release);
        if let Some(ring) = self.ring.get() {
            self.position_in_ring.store(ring.taken(), Ordering::Release);
        }
        if let Err(fault) = handed_out {
            self.break_off(reader, fault);
        }
        true
    }
}
