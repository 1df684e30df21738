//! Making calls: when they are sent, and by whom.

use std::sync::Arc;
use std::time::Instant;

use super::super::call::Complete;
use super::super::frame::{Frame, give_scratch};
use super::room::AwaitsRoom;
use super::{Conn, State, Ticket, Time};
use crate::error::{Error, Fault};
use crate::sys::ring::Ring;

/// With no more calls open than this, one is sent at once, by the thread that makes it.
const AT_ONCE: usize = 8;
/// With so many bytes waiting, too.
const WORTH_SENDING: usize = 32 * 1024;
/// With so many calls open, replies are worth a faster way.
const WORTH_A_RING: usize = 16;

/// What to do with a call for which there is no room.
pub(in super::super) enum Full {
    Wait,
    Refuse,
}

impl Conn {
    /// Makes a call of a frame.
    pub(in super::super) fn submit(
        &self,
        frame: Frame,
        slot: &Arc<impl Complete + 'static>,
        full: &Full,
    ) -> Result<Ticket, Error> {
        self.check()?;
        let mut frame = Some(frame);
        let mut line = AwaitsRoom::new(self);
        loop {
            match self.try_submit(&mut frame, slot)? {
                Some(ticket) => return Ok(ticket),
                None if matches!(full, Full::Refuse) || self.is_calling_back() => {
                    return Err(Fault::Full.into());
                }
                None => self.wait_for_room(&mut line),
            }
        }
    }

    /// The same, if there is room; else the frame stays.
    pub(in super::super) fn try_submit(
        &self,
        frame: &mut Option<Frame>,
        slot: &Arc<impl Complete + 'static>,
    ) -> Result<Option<Ticket>, Error> {
        let deadline = self.timeout.and_then(|t| Instant::now().checked_add(t));
        let time = deadline.map_or(Time::Any, Time::Until);
        self.place(frame, time, || Arc::clone(slot) as Arc<dyn Complete>)
    }

    /// The same, for whoever is told of the outcome.
    pub(crate) fn place(
        &self,
        frame: &mut Option<Frame>,
        time: Time,
        slot: impl FnOnce() -> Arc<dyn Complete>,
    ) -> Result<Option<Ticket>, Error> {
        let mut state = self.state();
        if let Some(fault) = &state.fault {
            return Err(fault.clone().into());
        }
        if !self.has_room(&state) {
            return Ok(None);
        }
        if state.book.open() == WORTH_A_RING && !std::mem::replace(&mut state.ring_offered, true) {
            self.offer_ring(&mut state);
        }
        if !matches!(time, Time::Any) && state.timer_at.is_none() {
            // Without a hub, nobody could keep the time: then there is no call.
            self.home.hub()?;
        }
        let mut frame = frame.take().expect("it is made of one frame");
        frame.set_call(state.book.next());
        let alone = matches!(time, Time::Any) && state.book.open() < AT_ONCE;
        if alone && !state.writing && !state.cut_off && state.outbox.can_pass(&frame) {
            let place = state.outbox.pass();
            let ticket = state.book.add(slot(), place, time);
            self.send_passing(state, frame);
            return Ok(Some(ticket));
        }
        let (place, spare) = state.outbox.push(frame);
        give_scratch(spare);
        let ticket = state.book.add(slot(), place, time);
        state.held = false;
        state.unsent += 1;
        let set_timer = match time {
            Time::Any => None,
            _ => state.timer_to_set(),
        };
        let now = state.book.open() <= AT_ONCE
            || state.outbox.bytes() >= WORTH_SENDING
            || state.is_worth_sending();
        let ask = if now || state.writing { None } else { state.ask_to_send() };
        if now && set_timer.is_none() {
            self.flush_with(state);
            return Ok(Some(ticket));
        }
        drop(state);
        if let Some(deadline) = set_timer {
            self.set_timer(deadline)?;
        }
        let unasked = ask.is_some_and(|time| self.set_timer(time).is_err());
        if unasked {
            self.state().send_asked = false;
        }
        if now || unasked {
            self.flush();
        }
        Ok(Some(ticket))
    }

    /// Offers the worker memory for its replies. Without it (out of descriptors, perhaps)
    /// they come by the stream.
    fn offer_ring(&self, state: &mut State) {
        if let Ok((ring, file)) = Ring::create()
            && self.ring.set(ring).is_ok()
        {
            state.outbox.push(Frame::ring(file));
        }
    }
}
