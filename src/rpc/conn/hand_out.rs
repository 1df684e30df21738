//! Replies, events and failures, to those who are to have them.

use std::sync::Arc;

use super::super::call::Complete;
use super::super::frame::{Failed, Head, Kind};
use super::super::inbox::Arrived;
use super::super::worker::Style;
use super::book::NotAnswerable;
use super::inside::Inside;
use super::{Conn, State};
use crate::error::Fault;

impl Conn {
    pub(super) fn hand_out(&self, arrived: Arrived<'_>) -> Result<(), Fault> {
        let Arrived { head, body, fds, fds_lost } = arrived;
        match head.kind {
            Kind::Reply => {
                let slot = self.answered(head)?;
                let _inside = Inside::of(self);
                match slot {
                    Some(slot) if fds_lost => slot.fail(Fault::NoRoomForFdsHere),
                    Some(slot) => slot.reply(&body, fds),
                    None => {}
                }
                Ok(())
            }
            Kind::Failed => {
                let failed = postcard::from_bytes::<Failed>(&body)
                    .map_err(|_| Fault::Protocol("a failure that cannot be read"))?;
                if head.call == 0 {
                    self.report(event_fault(failed));
                    return Ok(());
                }
                let slot = self.answered(head)?;
                if matches!(failed, Failed::Panic { .. })
                    && self.style == Style::Sync
                    && !self.keep_after_panic
                {
                    self.state().panicked = true;
                }
                if let Some(slot) = slot {
                    let _inside = Inside::of(self);
                    slot.fail(call_fault(failed));
                }
                Ok(())
            }
            Kind::Event => {
                let _inside = Inside::of(self);
                self.handlers.event(&body, fds, fds_lost);
                Ok(())
            }
            Kind::InitFailed => {
                let failed = postcard::from_bytes::<Failed>(&body)
                    .map_err(|_| Fault::Protocol("a failure that cannot be read"))?;
                self.fail_all(&init_fault(failed));
                Ok(())
            }
            Kind::Log => {
                let _inside = Inside::of(self);
                self.handlers.log(&body)
            }
            Kind::Bell => Ok(()),
            Kind::Ready => {
                let mut state = self.state();
                state.ready = true;
                state.book.ready();
                drop(state);
                let _inside = Inside::of(self);
                self.handlers.tell_overseer(|overseer| overseer.ready())
            }
            Kind::Retire => {
                let _inside = Inside::of(self);
                self.handlers.tell_overseer(|overseer| overseer.retires())
            }
            _ => Err(Fault::Protocol("a frame that is not for a parent")),
        }
    }

    /// Closes the call that is answered; who waits for it.
    fn answered(&self, head: Head) -> Result<Option<Arc<dyn Complete>>, Fault> {
        let mut state = self.state();
        let State { book, outbox, .. } = &mut *state;
        let entry = match book.answered(head.call, self.style, |place| outbox.holds(place)) {
            Ok(entry) => entry,
            Err(NotAnswerable::NoSuchCall) => {
                return Err(Fault::Protocol("an answer to no open call"));
            }
            Err(NotAnswerable::Unsent) => {
                return Err(Fault::Protocol("an answer to a call that was not sent"));
            }
        };
        if state.book.open() == 0 {
            state.window.all_answered();
        }
        let stuck = self.note_stuck(&mut state, entry.slot.is_none());
        // The next one's time begins, and may be shorter.
        let due = state.timer_to_set();
        self.tell_room(state);
        if stuck {
            self.look_after_stuck();
        }
        if let Some(due) = due {
            // Without a hub, whoever waits keeps the time.
            let _ = self.set_timer(due);
        }
        if entry.slot.is_none() {
            self.let_go();
        }
        Ok(entry.slot)
    }

    /// Tells `on_error`.
    pub(super) fn report(&self, fault: Fault) {
        let _inside = Inside::of(self);
        self.handlers.error(fault.into());
    }
}

fn call_fault(failed: Failed) -> Fault {
    match failed {
        Failed::Panic { message, location } => {
            Fault::Panic { message: message.into(), location: location.into() }
        }
        Failed::Codec(why) => Fault::Codec { what: "the call, or its result,", why: why.into() },
        Failed::TooLarge { size, max } => Fault::TooLarge { what: "the result", size, max },
        Failed::Unanswered => Fault::Unanswered,
        Failed::Cancelled => Fault::Cancelled,
        Failed::NoRoomForFds => Fault::NoRoomForFds,
        Failed::FdsRefused => Fault::FdsRefused { what: "the result" },
        Failed::Init(why) => Fault::Init(why.into()),
    }
}

fn event_fault(failed: Failed) -> Fault {
    match failed {
        Failed::Codec(why) => Fault::Codec { what: "an event", why: why.into() },
        Failed::TooLarge { size, max } => Fault::TooLarge { what: "an event", size, max },
        Failed::FdsRefused => Fault::FdsRefused { what: "an event" },
        other => call_fault(other),
    }
}

fn init_fault(failed: Failed) -> Fault {
    match failed {
        Failed::Panic { message, location } => {
            Fault::Init(format!("it panicked at {location}: {message}").into())
        }
        other => call_fault(other),
    }
}
