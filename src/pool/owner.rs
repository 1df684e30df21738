//! Whose a pool is, when the program forks by itself; see `home.rs`.

use std::sync::Arc;
use std::time::Instant;

use super::core::Core;
use crate::error::{Error, Fault};

impl Core {
    /// An error unless this process may use the pool.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.mark.is_here() { Ok(()) } else { self.take_over() }
    }

    /// The same; and unless this thread would wait for itself.
    pub(super) fn check_to_wait(&self) -> Result<(), Error> {
        self.check()?;
        if self.cannot_wait() { Err(Fault::WouldDeadlock.into()) } else { Ok(()) }
    }

    /// Takes the pool over from the process that this one was forked from, if that has
    /// ended.
    fn take_over(&self) -> Result<(), Error> {
        self.home.claim_patiently()?;
        let conns: Vec<_> = {
            let _taking = self.left.take();
            if self.mark.is_here() {
                return Ok(());
            }
            let state = self.left.lock(&self.state)?;
            state.everybody().filter_map(|m| m.conn().map(Arc::clone)).collect()
        };
        // These may call the program back, and that the pool.
        for conn in conns {
            conn.check()?;
        }
        let taking = self.left.take();
        // Another thread of this process may have done so, and have begun something since.
        if self.mark.is_here() {
            return Ok(());
        }
        let mut state = self.left.lock(&self.state)?;
        self.attendance.take_over(&self.left)?;
        state.armed = None;
        state.room.forget_threads();
        let to_rebuild = state.unmade.iter().filter(|member| member.id().is_none()).count();
        let left = state.owed_spares + to_rebuild;
        state.scheduler.spares_to_come(left);
        self.mark.renew();
        drop(taking);
        let rebuilds = state.rebuilding;
        // Nobody would let it go.
        if let Some(half_made) = state.making.take().and_then(|link| link.upgrade()) {
            half_made.abandon();
        }
        self.carry_out(state, Instant::now());
        // Whoever was about it is not here.
        if rebuilds && let Err(error) = self.begin_rebuild() {
            self.rebuilt(Err(Error::system("starting a thread")(error)));
        }
        Ok(())
    }
}
