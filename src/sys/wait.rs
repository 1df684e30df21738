//! Reaping.

use std::io;

/// How a process ended, as wait4(2) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    pub(crate) status: i32,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) peak_kib: u64,
}

/// Reaps one child that has ended, if there is one.
pub(crate) fn reap_any() -> Option<Reaped> {
    let mut status = 0;
    // SAFETY: rusage is plain data.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes one int and one rusage.
    let pid = unsafe { libc::wait4(-1, &mut status, libc::WNOHANG, &mut usage) };
    if pid <= 0 {
        return None;
    }
    let us = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
    Some(Reaped {
        pid,
        status,
        user_us: us(usage.ru_utime),
        system_us: us(usage.ru_stime),
        peak_kib: usage.ru_maxrss as u64,
    })
}

/// Reaps the child `pid`, waiting for an end that is at hand. Whether it was there.
pub(crate) fn reap(pid: i32) -> io::Result<()> {
    loop {
        // SAFETY: no status asked for.
        if unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
