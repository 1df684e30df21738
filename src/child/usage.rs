//! What a process has used.

use std::time::Duration;

use super::Child;
use crate::error::{Error, Kind};

/// What a process has used, as its template learned from wait4(2): of exactly this
/// process and those of its children that it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time in user mode.
    pub user_time: Duration,
    /// CPU time in the kernel.
    pub system_time: Duration,
    /// Largest resident set, in bytes. What is shared with the template counts.
    pub peak_memory: u64,
}

impl Child {
    /// What the process has used; waits for its end.
    ///
    /// # Errors
    /// As [`wait`](Child::wait). What only the template knew is gone with it.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.wait()?;
        let reaped = self.slot.lock().exited.ok_or(Kind::StatusLost)?;
        Ok(Usage {
            user_time: Duration::from_micros(reaped.user_us),
            system_time: Duration::from_micros(reaped.system_us),
            peak_memory: reaped.peak_kib * 1024,
        })
    }

    /// Its largest resident set in bytes, if its end is known.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        self.slot.lock().exited.map(|reaped| reaped.peak_kib * 1024)
    }
}
