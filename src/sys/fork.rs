//! Forking, and what ties a process to the one that forked it.

use std::io;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork as nix_fork};

pub(crate) enum Forked {
    Parent(i32),
    Child,
}

/// libc's `fork()`. The caller has checked that this process has one thread.
#[inline]
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: with one thread no lock can be held by a thread that the child does
    // not have; every caller checks `threads` first.
    match unsafe { nix_fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw())),
        ForkResult::Child => Ok(Forked::Child),
    }
}

/// Forks a process that is nobody's child: its parent is a process that exits at
/// once. The program never sees it in `wait(-1)`, and is never sent a SIGCHLD for
/// it (but for the one in between, which is reaped here).
pub(crate) fn fork_orphan() -> io::Result<Forked> {
    match fork()? {
        Forked::Child => match fork() {
            Ok(Forked::Child) => Ok(Forked::Child),
            Ok(Forked::Parent(_)) => exit_now(0),
            Err(e) => exit_now(e.raw_os_error().unwrap_or(libc::EAGAIN).clamp(1, 255)),
        },
        Forked::Parent(between) => {
            use nix::sys::wait::WaitStatus;
            loop {
                match waitpid(Pid::from_raw(between), None) {
                    Err(nix::Error::EINTR) => {}
                    Ok(WaitStatus::Exited(_, errno)) if errno != 0 => {
                        return Err(io::Error::from_raw_os_error(errno));
                    }
                    // ECHILD: SIGCHLD is ignored, the kernel has reaped it.
                    _ => return Ok(Forked::Parent(0)),
                }
            }
        }
    }
}

/// How many threads this process has: one, or more (where it can be counted).
#[inline]
pub(crate) fn threads() -> usize {
    // unshare(CLONE_VM) does nothing in a process of one thread, and fails with
    // EINVAL in any other (unshare(2)): 0.2 us, and no /proc needed. By system call, as
    // all in the hook: one page of the C library to touch, not one for each.
    // SAFETY: no effect on memory either way.
    let alone = unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_VM) } == 0;
    if alone {
        return 1;
    }
    threads_of_several()
}

#[cold]
fn threads_of_several() -> usize {
    let refused = io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL);
    match counted_threads() {
        Some(n) => n,
        // A filter refuses unshare and there is no /proc: nothing says "threaded".
        None if refused => 1,
        None => 2,
    }
}

fn counted_threads() -> Option<usize> {
    use std::os::unix::fs::MetadataExt;
    let links = std::fs::metadata("/proc/self/task").ok()?.nlink() as usize;
    links.checked_sub(2).filter(|n| *n > 0)
}

/// `_exit(2)`: no destructors, no buffers flushed.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process, touching nothing.
    unsafe { libc::_exit(code) }
}

/// Ends the process as a program ends when its `main` returns: what is buffered is
/// written out, and the handlers of atexit(3) and the destructors of libraries run.
#[inline]
pub(crate) fn exit_as_program(status: u8) -> ! {
    use std::io::Write;
    if threads() == 1 {
        // What std::process::exit would do besides (give back the alternate stack) costs
        // as much as a tenth of an empty worker. It is for processes with more threads,
        // of which one may hold stdout for ever, or exit at the same time.
        // Through a reference: one function of std's less.
        let _ = (&io::stdout()).flush();
        // SAFETY: one thread, so nobody else is exiting.
        unsafe { libc::exit(i32::from(status)) }
    }
    std::process::exit(i32::from(status))
}

/// What could be seen of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tied {
    /// It is the one that was named, and lives.
    ToParent,
    /// It is in another pid namespace, and has no number here, dead or alive.
    Unseen,
}

/// Asks the kernel to send `signal` to this process when its parent dies (0:
/// nothing), and exits if the parent, `parent`, is dead already.
#[inline]
pub(crate) fn die_with_parent(signal: i32, parent: i32) -> io::Result<Tied> {
    // By system calls, as all that each new process does: functions of the C library lie
    // far apart, and to enter one on a page that nobody has touched costs 2 us.
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    let set =
        unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: only asks.
    let now = unsafe { libc::syscall(libc::SYS_getppid) };
    if now == 0 {
        return Ok(Tied::Unseen);
    }
    if signal != 0 && now != libc::c_long::from(parent) {
        die_of(signal);
    }
    Ok(Tied::ToParent)
}

/// Does what the kernel would have done, had the parent died later.
#[cold]
pub(crate) fn die_of(signal: i32) {
    // SAFETY: sends to ourselves.
    unsafe { libc::raise(signal) };
    // The first process of a pid namespace is spared by its own signals.
    if signal == libc::SIGKILL {
        exit_now(127);
    }
}

/// Writes out what is left in stdout's buffers, Rust's and C's, so that no child
/// prints it once more.
pub(crate) fn flush_stdio() {
    use std::io::Write;
    let _ = io::stdout().flush();
    // SAFETY: fflush(NULL) flushes all of C's output streams; one thread.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;
    use nix::sys::wait::WaitStatus;

    use super::*;

    /// How a fork of this process ends that ties itself to `parent`, or else exits with the
    /// signal that it is to get.
    fn end_of_one_tied_to(parent: i32, signal: i32) -> WaitStatus {
        // SAFETY: other tests run in other threads; the child makes system calls only.
        match unsafe { nix_fork() }.unwrap() {
            ForkResult::Child => {
                let tied = die_with_parent(signal, parent);
                let mut set: libc::c_int = -1;
                // SAFETY: PR_GET_PDEATHSIG writes an int.
                unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut set) };
                exit_now(if tied.is_ok() { set } else { 126 })
            }
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        }
    }

    /// The parent has died between the fork and the call, and another one has the child.
    #[test]
    fn one_whose_parent_is_dead_already_gets_the_signal_at_once() {
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            let end = end_of_one_tied_to(i32::MAX, signal as i32);
            assert!(matches!(end, WaitStatus::Signaled(_, s, _) if s == signal), "{end:?}");
        }
        // One that asks for nothing gets nothing.
        let end = end_of_one_tied_to(i32::MAX, 0);
        assert!(matches!(end, WaitStatus::Exited(_, 0)), "{end:?}");
    }

    #[test]
    fn one_whose_parent_lives_goes_on() {
        for signal in [0, libc::SIGKILL, libc::SIGTERM] {
            let end = end_of_one_tied_to(std::process::id() as i32, signal);
            assert!(matches!(end, WaitStatus::Exited(_, s) if s == signal), "{end:?}");
        }
    }
}
