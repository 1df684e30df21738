//! Plain fork, exit or `_exit`, and waitpid, as a C program does it: what everything
//! is compared with.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// A child that has not been waited for.
pub(crate) struct Forked(libc::pid_t);

/// How a plain child ends: by exit(3), with the handlers and destructors that a worker
/// runs too, or by _exit(2), with nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Exit,
    AtOnce,
}

/// Forks a child that exits at once; first, with `tell`, it writes one byte there.
#[allow(unsafe_code)]
pub(crate) fn fork(tell: Option<&File>, ending: Ending) -> io::Result<Forked> {
    let tell = tell.map(AsRawFd::as_raw_fd);
    // SAFETY: the child calls write(2) and _exit(2) only, which may be called whatever
    // other threads were doing; it never returns from here.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        if let Some(fd) = tell {
            // SAFETY: one byte from a constant; the descriptor is open in the parent,
            // and so it is here.
            unsafe { libc::write(fd, c"!".as_ptr().cast(), 1) };
        }
        if ending == Ending::Exit {
            // SAFETY: cases that end like this run in a program with one thread, so no
            // lock that a handler takes is held by another.
            unsafe { libc::exit(0) }
        }
        // SAFETY: ends the child, touching nothing.
        unsafe { libc::_exit(0) }
    }
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(Forked(pid)) }
}

impl Forked {
    #[allow(unsafe_code)]
    pub(crate) fn wait(self) -> io::Result<()> {
        let mut status = 0;
        // SAFETY: writes one int.
        match unsafe { libc::waitpid(self.0, &mut status, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ if status != 0 => Err(io::Error::other(format!("status {status}"))),
            _ => Ok(()),
        }
    }
}

/// A copy of a descriptor as a file, so that it can be closed by dropping it.
pub(crate) fn file(fd: BorrowedFd<'_>) -> io::Result<File> {
    fd.try_clone_to_owned().map(File::from)
}

/// How long this thread has been running on a CPU.
#[allow(unsafe_code)]
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
