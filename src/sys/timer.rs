//! A descriptor that becomes readable at a time (timerfd_create(2)).
//!
//! Not by nix, whose type cannot be made of a descriptor that was moved above 2.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// One that is not set. Close-on-exec, and above 2.
    pub(crate) fn new() -> io::Result<Timer> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: no memory is named.
        let raw = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is new, and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        super::fds::above_stdio(fd).map(Timer)
    }

    /// Readable once that much time has passed, in place of what was set before.
    pub(crate) fn set(&self, left: Duration) {
        // 0 would switch it off.
        let left = left.max(Duration::from_nanos(1));
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: left.subsec_nanos() as _,
        };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: never, it_value: value };
        // SAFETY: reads the specification, and writes nothing, since it gets no place to.
        // It cannot fail for a time that is not negative.
        unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &spec, std::ptr::null_mut()) };
    }

    /// Makes it unreadable until it is due again.
    pub(crate) fn reset(&self) {
        let mut count = [0; 8];
        let _ = nix::unistd::read(&self.0, &mut count);
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
