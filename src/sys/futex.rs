//! Sleep until a number is another (futex(2)), among the threads of a process.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps until somebody wakes whoever sleeps on the number, if it is still the one that is
/// known; or for so long; or for no reason.
pub(crate) fn sleep_on(number: &AtomicU32, known: u32, longest: Option<Duration>) {
    let longest = longest.map(|longest| libc::timespec {
        tv_sec: libc::time_t::try_from(longest.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: longest.subsec_nanos().into(),
    });
    let longest = longest.as_ref().map_or(ptr::null(), ptr::from_ref);
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the number and the time live longer than the call, which only reads them.
    unsafe { libc::syscall(libc::SYS_futex, number.as_ptr(), wait, known, longest) };
}

/// All who sleep on it.
pub(crate) fn wake(number: &AtomicU32) {
    let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: nothing is read or written; the number lives longer than the call.
    unsafe { libc::syscall(libc::SYS_futex, number.as_ptr(), wake, i32::MAX) };
}
