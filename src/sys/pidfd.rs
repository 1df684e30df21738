//! Process descriptors: an optimisation, with a fallback wherever they are used
//! (valgrind and qemu-user do not have them).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::poll;

/// A descriptor for the process `pid`.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: two numbers; the result is checked.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0u32) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it; it is close-on-exec by definition.
    super::fds::above_stdio(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// Whether the process `pid` has ended, or ends within `patience`. A zombie has.
pub(crate) fn gone(pid: i32, patience: Duration) -> bool {
    let Ok(fd) = open(pid) else {
        return gone_by_proc(pid, patience);
    };
    ends_within(fd, patience)
}

/// Nothing tells the end of a process that is not our child: it is looked for again and
/// again.
#[cold]
fn gone_by_proc(pid: i32, patience: Duration) -> bool {
    const PAUSE: Duration = Duration::from_millis(1);
    let start = Instant::now();
    loop {
        if is_gone_now(pid) {
            return true;
        }
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(left.min(PAUSE));
    }
}

fn is_gone_now(pid: i32) -> bool {
    // SAFETY: signal 0 only asks.
    if unsafe { libc::kill(pid, 0) } != 0 {
        return io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
    }
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|s| s.rsplit_once(") ").map(|(_, rest)| rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

// linux/pidfd.h, in kernels from 6.13 (exit information from 6.15) on. The size is
// part of the request, so kernels that know more fields still take this one.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}
const INFO_EXIT: u64 = 1 << 3;
const GET_INFO: libc::c_ulong =
    (3 << 30) | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16) | (0xff << 8) | 11;

/// What the kernel says of how a process ended, though somebody else reaps it.
pub(crate) enum Told {
    /// The wait status.
    Status(i32),
    /// The process still runs, or has not been reaped.
    NotYet,
    /// It does not know, or knows of no such question.
    Never,
}

/// How the process behind `fd` ended.
pub(crate) fn status(fd: impl AsFd) -> Told {
    match ask_status(&fd) {
        // It may have been reaped between the kernel's look for a status and that for the
        // process; then there is one now.
        Told::Never => ask_status(&fd),
        told => told,
    }
}

fn ask_status(fd: impl AsFd) -> Told {
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request carries the size of the struct that it writes.
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), GET_INFO as _, &mut info) };
    match done {
        0 if info.mask & INFO_EXIT != 0 => Told::Status(info.exit_code),
        0 => Told::NotYet,
        _ => Told::Never,
    }
}

/// Whether the process behind `fd` has ended.
pub(crate) fn has_ended(fd: impl AsFd) -> bool {
    ends_within(fd, Duration::ZERO)
}

/// The same, or ends within `patience`.
pub(super) fn ends_within(fd: impl AsFd, patience: Duration) -> bool {
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    // Without a deadline, if that would be beyond all time.
    let deadline = Instant::now().checked_add(patience);
    matches!(poll::until(&mut polled, deadline), Ok(true))
}

/// Sends a signal to the process behind `fd`, and to no other that has its number by now.
#[cfg(feature = "testing")]
pub(crate) fn signal(fd: impl AsFd, number: i32) -> io::Result<()> {
    // SAFETY: a descriptor that is open, numbers, and no siginfo.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd.as_fd().as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0u32,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits until the process behind `fd` has ended.
#[cfg(feature = "testing")]
pub(crate) fn wait_gone(fd: impl AsFd) {
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let _ = poll::until(&mut polled, None);
}

/// Whether the kernel has process descriptors.
pub(crate) fn available() -> bool {
    open(std::process::id() as i32).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn without_a_descriptor_the_end_is_waited_for_as_well() {
        let for_ever = Duration::from_secs(24 * 60 * 60);
        let mut stays = Command::new("sleep").arg("1000").spawn().expect("it starts");
        let pid = stays.id() as i32;
        assert!(!gone_by_proc(pid, Duration::ZERO));
        assert!(!gone_by_proc(pid, Duration::from_millis(3)));
        stays.kill().expect("it runs");
        // A zombie has ended.
        assert!(gone_by_proc(pid, for_ever));
        assert!(stays.wait().is_ok_and(|s| !s.success()));
        // One whose end is a while off.
        let mut ends = Command::new("sleep").arg("0.2").spawn().expect("it starts");
        assert!(gone_by_proc(ends.id() as i32, for_ever));
        assert!(ends.wait().expect("it is our child").success());
        assert!(gone_by_proc(ends.id() as i32, Duration::ZERO));
    }
}
