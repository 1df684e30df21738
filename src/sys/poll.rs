//! Waiting for descriptors.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};

/// Waits until one of them has what is looked for, or the deadline has passed (`false`). A
/// signal whose handler runs meanwhile ends each poll(2), whatever its SA_RESTART says
/// (signal(7)), but not this.
pub(crate) fn until(polled: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up: a poll of 0 ms would spin through the last millisecond.
            PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        match poll(polled, timeout) {
            Ok(0) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::thread::JoinHandleExt;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;
    use crate::sys::pidfd;

    static HANDLED: AtomicU32 = AtomicU32::new(0);

    extern "C" fn handled(_: libc::c_int) {
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn a_signal_is_not_what_is_waited_for() {
        // SAFETY: the handler only adds; no other test uses this signal.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handled as *const () as usize;
            libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut());
        }
        let mut cat = Command::new("cat");
        let mut other = cat.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let pid = other.id() as i32;
        let day = Duration::from_secs(24 * 60 * 60);
        let waiter = thread::spawn(move || pidfd::gone(pid, day));
        let mut sent = 0;
        while sent < 100 && !waiter.is_finished() {
            // SAFETY: it has not been joined.
            unsafe { libc::pthread_kill(waiter.as_pthread_t() as libc::pthread_t, libc::SIGUSR2) };
            sent += 1;
            while HANDLED.load(Ordering::Relaxed) < sent && !waiter.is_finished() {
                thread::yield_now();
            }
        }
        assert!(!waiter.is_finished(), "the other process is there");
        other.kill().expect("it runs");
        assert!(waiter.join().expect("it does not panic"));
        other.wait().expect("it is our child");
    }

    #[test]
    fn a_deadline_is_kept_to_the_end() {
        let (reader, _writer) = io::pipe().expect("a pipe");
        let mut polled =
            [PollFd::new(std::os::fd::AsFd::as_fd(&reader), nix::poll::PollFlags::POLLIN)];
        let deadline = Instant::now() + Duration::from_micros(1_500);
        assert!(!until(&mut polled, Some(deadline)).expect("it can be waited for"));
        assert!(Instant::now() >= deadline);
    }
}
