//! What the system does not take for now: descriptors, most often.
//!
//! An unprivileged user may have no more descriptors on their way, sent and not yet
//! received, than one of its processes may have open (ETOOMANYREFS in sendmsg(2); unix(7)).
//! They count for all processes of the user. So too many in the sockets of workers that
//! are busy would keep the workers from sending theirs, and there is no event that says
//! when it is over. Hence a parent sends no more ahead than a part of the limit
//! ([`Window`]), and whoever is refused nevertheless tries again ([`Refusal`]). So does one for
//! whose bytes the kernel has no memory: that passes, and is no end of the connection.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::sys::fdpass;

/// How long to try, once the other side has received all that was sent to it: others are
/// to blame then.
const PATIENCE: Duration = Duration::from_secs(3);
/// Descriptors that may be unread: a worker may have a lower limit than its parent.
const MOST: usize = 64;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// Attempts to send a frame.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    pause: Duration,
    /// Since when the other side has nothing left to receive.
    idle: Option<Instant>,
}

impl Refusal {
    /// Whether an error of sending is one.
    pub(super) fn is(error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::ETOOMANYREFS)
    }

    /// Whether there was no memory to send with.
    pub(super) fn is_shortage(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
    }

    /// Whether an error of sending descriptors is about these: some cannot be passed at
    /// all (those of io_uring, or what a security module forbids).
    pub(super) fn is_for_ever(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EPERM | libc::EACCES))
    }

    /// How long to wait before the next attempt; `None` if it is to be given up. While
    /// the other side has something to receive it is waited for, as with any full socket.
    pub(super) fn pause(&mut self, socket: impl AsFd) -> Option<Duration> {
        if fdpass::is_unread(socket) {
            self.idle = None;
        } else {
            let idle = self.idle.get_or_insert_with(Instant::now);
            if idle.elapsed() >= PATIENCE {
                return None;
            }
        }
        self.pause = (self.pause * 2).clamp(SHORTEST, LONGEST);
        Some(self.pause)
    }
}

/// Descriptors that this process has sent to workers, and that may be unread.
static SENT: AtomicUsize = AtomicUsize::new(0);

/// Those that went to one of them.
#[derive(Debug, Default)]
pub(super) struct Window {
    sent: usize,
}

impl Window {
    /// Whether so many more can be sent. At least one message is, if the worker has
    /// received all others.
    pub(super) fn admits(&mut self, more: usize, socket: impl AsFd) -> bool {
        let most = MOST.min(crate::sys::fds::open_limit() as usize / 4);
        if SENT.load(Ordering::Relaxed) + more <= most || self.sent == 0 {
            return true;
        }
        if fdpass::is_unread(socket) {
            return false;
        }
        self.close();
        true
    }

    pub(super) fn sent(&mut self, fds: usize) {
        self.sent += fds;
        SENT.fetch_add(fds, Ordering::Relaxed);
    }

    /// All calls have been answered, so nothing is unread.
    pub(super) fn all_answered(&mut self) {
        if self.sent > 0 {
            self.close();
        }
    }

    fn close(&mut self) {
        SENT.fetch_sub(std::mem::take(&mut self.sent), Ordering::Relaxed);
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.close();
    }
}
