//! Reading from the worker: once without waiting, or with a look or a sleep before it.

use super::super::inbox::{Bad, Filled};
use super::look::{READS, SLEEPS};
use super::{Conn, Reader};
use crate::error::Fault;

/// Something is to be sent first, and cannot be now, or another thread is sending it.
pub(super) struct HeldUp;

impl Conn {
    /// Reads once, without waiting. Whether something has come, the end included.
    pub(super) fn fill(&self, reader: &mut Reader) -> bool {
        let position = reader.inbox.consumed();
        if self.ring.get().is_some_and(|ring| ring.has(position)) {
            return true;
        }
        self.reads(READS);
        let filled = reader.inbox.fill(self.child.stream(), false);
        self.has_read(reader);
        self.filled(reader, filled)
    }

    /// Waits until something is there to be read, and reads once. Whether something has
    /// come, as in `fill`; it may be in the ring. One who waits for `room` does not sleep if
    /// there is some.
    pub(super) fn wait_to_read(&self, reader: &mut Reader, room: bool) -> Result<bool, HeldUp> {
        let Reader { inbox, spin, .. } = reader;
        let socket = self.child.stream();
        let ring = self.ring.get();
        let position = inbox.consumed();
        if spin.looks() {
            // Those who are to be sent something first are not to wait for that long.
            let state = self.state();
            let sends = state.is_worth_sending() || state.blocked || state.refusal.is_some();
            if sends && self.flush_with(state) {
                return Err(HeldUp);
            }
        }
        let inbox = std::cell::RefCell::new(inbox);
        let mut looks = 0;
        let look = || {
            if let Some(ring) = ring {
                if ring.has(position) {
                    return Some(Ok(Ok(Filled::Some)));
                }
                // Most comes through the ring, and a look there costs no system call.
                looks += 1;
                if looks % 32 != 1 {
                    return None;
                }
            }
            match inbox.borrow_mut().fill(socket, false) {
                Ok(Filled::Nothing) => None,
                other => Some(Ok(other)),
            }
        };
        let sleep = || {
            let state = self.state();
            if state.is_at_rest() {
                drop(state);
            } else if self.flush_with(state) || self.state().is_held_up() {
                return Err(HeldUp);
            }
            // Another thread may have sent what filled the queue, and told this one when it
            // had looked, and did not listen.
            if room && self.has_room(&self.state()) {
                return Ok(Ok(Filled::Some));
            }
            if ring.is_some_and(|ring| !ring.sleep(position)) {
                return Ok(Ok(Filled::Some));
            }
            self.reads(SLEEPS);
            let filled = inbox.borrow_mut().fill(socket, true);
            ring.inspect(|ring| ring.wake());
            Ok(filled)
        };
        self.reads(READS);
        let filled = spin.wait(look, sleep);
        self.has_read(reader);
        Ok(self.filled(reader, filled?))
    }

    /// What came of reading. Whether anything did, the end included.
    fn filled(&self, reader: &mut Reader, filled: Result<Filled, Bad>) -> bool {
        match filled {
            Ok(Filled::Some) => true,
            Ok(Filled::Nothing) => false,
            Ok(Filled::End) => {
                // Nothing whole is left; what came with half a frame is nobody's.
                reader.inbox.clear();
                self.read_ended(reader);
                true
            }
            Err(Bad::Malformed(why)) => {
                self.break_off(reader, Fault::Protocol(why.0));
                true
            }
            Err(Bad::Io(why)) => {
                self.cannot_read(reader, &why);
                true
            }
        }
    }
}
