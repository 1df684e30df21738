//! What a connection knows of its calls and of what it has to send, behind one lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::outbox::Outbox;
use super::super::refusal::{Refusal, Window};
use super::book::{Book, Ticket};
use super::end::End;
use super::look::Look;
use crate::error::Fault;
use crate::lead::Seat;
use crate::room::Line;

/// A cancelled call that runs on, as far as is known: the process is killed for it.
#[derive(Clone, Copy)]
pub(super) struct Stuck {
    pub(super) ticket: Ticket,
    pub(super) until: Instant,
    pub(super) why: &'static str,
}

/// Calls whose time is up, or that were cancelled: what has arrived has to be looked at first.
pub(super) struct Late {
    /// What is late only since it began has to be looked for again.
    pub(super) look: Look,
    /// When the hub looks again.
    pub(super) again: Instant,
}

impl Late {
    pub(super) fn begin() -> Late {
        let look = Look::begin();
        Late { again: look.since, look }
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) book: Book,
    pub(super) outbox: Outbox,
    /// Somebody is writing.
    pub(super) writing: bool,
    /// The next frame's descriptors are not taken for now; when they will be tried again.
    pub(super) refusal: Option<(Refusal, Instant)>,
    pub(super) window: Window,
    /// The socket has no room.
    pub(super) blocked: bool,
    /// The hub has been asked to send what is queued.
    pub(super) send_asked: bool,
    /// It has been asked to hand out what was left.
    pub(super) look_asked: bool,
    /// Calls since something was sent.
    pub(super) unsent: usize,
    /// The hub is to look before it ends anything, and has not come to it.
    pub(super) late: Option<Late>,
    /// How often something was sent; and when the hub was asked, or looked last.
    pub(super) sends: u32,
    pub(super) sends_when_asked: u32,
    /// How often it found no need to send, in a row, up to a limit.
    pub(super) asked_in_vain: u32,
    /// No more calls will be made; once all is sent, the worker is told.
    pub(super) finishing: bool,
    pub(super) told_finish: bool,
    /// Writing has failed: what is queued will not be sent.
    pub(super) cut_off: bool,
    /// Handles are gone; calls may still be waited for.
    pub(super) orphaned: bool,
    /// A call's handle was dropped before its answer came, or it was taken back: it is open,
    /// and nobody waits for it.
    pub(super) abandoned: bool,
    /// Open calls that were cancelled and that the worker may skip.
    pub(super) skipped: usize,
    /// One of them that is the first of all open calls.
    pub(super) stuck: Option<Stuck>,
    /// The worker panicked, and begins no other call.
    pub(super) panicked: bool,
    /// Of a pool: its init function has returned, so calls can begin.
    pub(super) ready: bool,
    /// It has not been told what it is: that goes with its first call.
    pub(super) held: bool,
    /// When the hub will look for calls that are late.
    pub(super) timer_at: Option<Instant>,
    pub(super) ring_offered: bool,
    /// Why the process was killed, and which call is to blame.
    pub(super) killed: Option<&'static str>,
    /// What every call gets from now on.
    pub(super) fault: Option<Fault>,
    pub(super) end: Option<End>,
    /// Who waits for room.
    pub(super) room: Line,
    /// The hub has been asked to see whether whoever was told has looked.
    pub(super) room_asked: bool,
    pub(super) end_seats: Vec<Arc<Seat>>,
}

/// A call may wait so long for others, to be sent with them, if nobody waits for it: then
/// the hub sends it. While the worker has enough to do it looks again after twice and three
/// times as long, and then sends it: 300 us in all. If others have been sent meanwhile, it
/// looks once more before it does.
pub(super) const SEND_WITHIN: Duration = Duration::from_micros(50);
const SEND_LATEST: u32 = 2;
/// So many calls are worth sending, whatever the worker has to do.
const MANY: usize = 128;

impl State {
    /// What is queued cannot be sent now, or somebody else is sending it.
    pub(super) fn is_held_up(&self) -> bool {
        self.blocked || self.writing || self.refusal.is_some()
    }

    /// There is nothing to send, and nobody is about to.
    pub(super) fn is_at_rest(&self) -> bool {
        self.outbox.is_empty() && !self.finishing && !self.is_held_up()
    }

    /// Few of the open calls have been sent, so the worker may be idle soon; or many are to
    /// be.
    pub(super) fn is_worth_sending(&self) -> bool {
        self.is_worker_hungry() || self.unsent >= MANY
    }

    fn is_worker_hungry(&self) -> bool {
        2 * self.unsent >= self.book.open()
    }

    /// When the hub is to be asked to look for calls that are late, if it will not do so
    /// before that.
    pub(super) fn timer_to_set(&mut self) -> Option<Instant> {
        let next = self.book.next_deadline()?;
        let sooner = self.timer_at.is_none_or(|at| next < at);
        sooner.then(|| *self.timer_at.insert(next))
    }

    /// Somebody begins to write.
    pub(super) fn begin_to_write(&mut self) {
        self.writing = true;
        self.unsent = 0;
        self.sends = self.sends.wrapping_add(1);
    }

    /// When the hub is to look whether something has to be sent, if it has to be asked.
    pub(super) fn ask_to_send(&mut self) -> Option<Instant> {
        if std::mem::replace(&mut self.send_asked, true) {
            return None;
        }
        self.sends_when_asked = self.sends;
        Some(self.send_time())
    }

    fn send_time(&self) -> Instant {
        Instant::now() + SEND_WITHIN * (1 + self.asked_in_vain)
    }

    /// The hub was asked to send. Whether it shall; and when it is to be asked again.
    pub(super) fn asked_to_send(&mut self) -> (bool, Option<Instant>) {
        if !self.send_asked {
            return (false, None);
        }
        if self.outbox.is_empty() {
            self.send_asked = false;
            return (false, None);
        }
        // One that has enough to do may be waiting for these very calls. And what has been
        // answered counts as open while nobody reads.
        let hungry = self.is_worker_hungry();
        if hungry {
            self.asked_in_vain = 0;
        }
        // Where somebody else sends, what waits here has come since.
        let others_send = std::mem::replace(&mut self.sends_when_asked, self.sends) != self.sends;
        if hungry || (self.asked_in_vain == SEND_LATEST && !others_send) {
            self.send_asked = false;
            return (true, None);
        }
        self.asked_in_vain = (self.asked_in_vain + 1).min(SEND_LATEST);
        (false, Some(self.send_time()))
    }
}
