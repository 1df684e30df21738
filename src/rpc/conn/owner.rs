//! Whose a connection is, when the program forks by itself; see `home.rs`.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::look::READS;
use super::{Conn, lock};
use crate::error::Error;
use crate::hub::Interest;

impl Conn {
    /// An error unless this process may use the connection.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.mark.is_here() {
            return Ok(());
        }
        self.home.claim_patiently()?;
        self.take_over()
    }

    /// Whether this process may use the connection, without waiting for another's end.
    pub(in super::super) fn is_ours(&self) -> bool {
        self.mark.is_here() || (self.home.is_ours() && self.take_over().is_ok())
    }

    /// Takes the connection over from the process that this one was forked from, which
    /// has ended: what was waited for there was by threads that are not here, and what
    /// its hub was asked for, nobody does. Not if one of them was in the midst of it.
    fn take_over(&self) -> Result<(), Error> {
        let taking = self.left.take();
        if self.mark.is_here() {
            return Ok(());
        }
        let mut interest = self.left.lock(&self.interest)?;
        // Who reads has it all the time, and may have half a frame; but who calls back has
        // read that, and if it was this thread that forked, it is here and goes on.
        if !self.is_calling_back() {
            drop(self.left.lock(&self.reader)?);
        }
        drop(self.left.lock(&self.state)?);
        drop(self.left.lock(&self.exit)?);
        drop(self.left.lock(&self.kept)?);
        self.handlers.take_over(&self.left)?;
        self.bell.take_over(&self.left)?;
        self.left.wait_for(|| self.lead.try_reset())?;
        self.reads(READS);
        self.hub_key.store(0, Ordering::Release);
        let watched = self.watched.swap(false, Ordering::AcqRel);
        *interest = Interest::default();
        let (asked, stuck) = {
            let mut state = self.state();
            state.writing = false;
            // That one's hub was to try again.
            state.refusal = None;
            state.room.forget_threads();
            state.room_asked = false;
            state.late = None;
            let timed = state.timer_at.take().is_some();
            let asked = timed || state.send_asked || state.look_asked;
            (asked, state.stuck.is_some())
        };
        self.mark.renew();
        drop((interest, taking));
        if watched {
            self.watch()?;
        }
        if stuck {
            self.look_after_stuck();
        }
        if watched || asked || lock(&self.exit).is_some() {
            self.set_timer(Instant::now())?;
        }
        // What had no room waits for the hub no more.
        self.flush();
        Ok(())
    }
}
