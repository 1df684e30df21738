//! The status of a process whose template died before it could tell it: the kernel knows it,
//! where there is a process descriptor to ask by.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Child;
use crate::error::Error;
use crate::sys::pidfd;

/// How long to wait for a process to be reaped by somebody else, once its template is
/// dead and the process too.
const REAPED_ELSEWHERE: Duration = Duration::from_secs(5);

impl Child {
    /// The descriptor to ask when the template has died before it could tell.
    pub(super) fn pidfd_after_loss(&self) -> Option<OwnedFd> {
        let state = self.slot.lock();
        if state.exited.is_some() || state.failed.is_some() || state.lost.is_none() {
            return None;
        }
        state.pidfd.as_ref()?.try_clone().ok()
    }
}

/// Waits until the kernel knows the status of a process that others have reaped.
/// `None`: not before the deadline. `Some(None)`: it does not tell.
pub(super) fn wait_by_kernel(
    fd: &OwnedFd,
    deadline: Option<Instant>,
) -> Option<Option<Result<ExitStatus, Error>>> {
    let wait = |events, patience: Option<Duration>| {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let left = patience.into_iter().chain(left).min();
        let timeout = left
            .map_or(PollTimeout::NONE, |l| PollTimeout::try_from(l).unwrap_or(PollTimeout::MAX));
        let mut polled = [PollFd::new(fd.as_fd(), events)];
        matches!(poll(&mut polled, timeout), Ok(n) if n > 0)
    };
    if !wait(PollFlags::POLLIN, None) {
        return None;
    }
    if pidfd::exit_status(fd).is_none() {
        // Readable once it has ended, hung up once it has been reaped as well.
        wait(PollFlags::empty(), Some(REAPED_ELSEWHERE));
    }
    Some(pidfd::exit_status(fd).map(|status| Ok(ExitStatus::from_raw(status))))
}
