//! Signal dispositions and masks of templates and of what they fork.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a template keeps blocked, for good: SIGCHLD is taken from an [`Ends`], and the
/// others must not end it, since its life hangs on its socket (the parent of a group
/// that gets a Ctrl-C may still be draining). Blocked rather than ignored: so a new
/// process has one mask to clear instead of four dispositions to set, and a program
/// that a setup function runs does not inherit them ignored.
const BLOCKED: [Signal; 5] =
    [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// How often a template looks for itself where it cannot wait.
const LOOK_EVERY_MS: libc::c_int = 20;

fn set(signal: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: an all-zero sigaction has an empty mask and no flags; SIG_DFL and
    // SIG_IGN are no functions. The C library refuses the numbers that it keeps for
    // itself.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

fn set_mask(mask: &libc::sigset_t) {
    // SAFETY: a valid set. Cannot fail with SIG_SETMASK.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}

/// By system call: the C library's three functions for this cost a new process more
/// than the call does.
#[inline]
fn empty_mask() {
    let empty = 0u64;
    // SAFETY: a set as the kernel has it, of this size.
    unsafe {
        let none = std::ptr::null_mut::<u64>();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const empty, none, 8usize)
    };
}

fn blocked() -> SigSet {
    BLOCKED.into_iter().collect()
}

/// Dispositions and mask of a process that serves. What can be set to its default is,
/// so that a fork need not; what std installed for stack overflows stays.
pub(crate) fn begin_serving() {
    for number in 1..=64 {
        if !matches!(number, libc::SIGKILL | libc::SIGSTOP | libc::SIGSEGV | libc::SIGBUS) {
            set(number, libc::SIG_DFL);
        }
    }
    set(libc::SIGPIPE, libc::SIG_IGN);
    set_mask(blocked().as_ref());
}

/// For a setup function: a process that serves, but one that can wait for processes
/// of its own.
pub(crate) fn begin_setup() {
    let mut mask = blocked();
    mask.remove(Signal::SIGCHLD);
    set_mask(mask.as_ref());
}

/// For an entry: all dispositions at their defaults but SIGPIPE, as in any Rust
/// program, and an empty mask. `thorough` after user code has run in this process.
#[inline]
pub(crate) fn begin_entry(thorough: bool) {
    if thorough {
        begin_serving();
    }
    empty_mask();
}

/// For an RPC worker: a Ctrl-C is its parent's affair.
pub(crate) fn ignore_interrupt() {
    set(libc::SIGINT, libc::SIG_IGN);
}

/// For a program that is about to be executed: SIGPIPE at its default as well, and
/// SIGSEGV and SIGBUS, since an exec keeps no handlers but does keep what is ignored.
pub(crate) fn begin_program() {
    begin_entry(true);
    for signal in [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS] {
        set(signal, libc::SIG_DFL);
    }
}

/// Tells that children have ended. A descriptor, because the frame of a handler
/// would cost the template one more page after each fork.
pub(crate) struct Ends(SignalFd);

impl Ends {
    pub(crate) fn new() -> io::Result<Ends> {
        let ends = SigSet::from(Signal::SIGCHLD);
        Ok(Ends(SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Waits until `socket` can be read (or written, if `write`), or children end, or the
    /// process `owner` ends, or so many milliseconds have passed.
    pub(crate) fn pause(
        &self,
        socket: &OwnedFd,
        owner: Option<&OwnedFd>,
        write: bool,
        at_most: Option<u16>,
    ) -> Woken {
        let for_reading = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // Looked at in this order: where the owner's end is also that of the socket, who is
        // told of the one sees the other.
        let mut polled = [
            for_reading(owner.map_or(-1, |fd| fd.as_raw_fd())),
            for_reading(socket.as_raw_fd()),
            for_reading(self.0.as_fd().as_raw_fd()),
        ];
        if write {
            polled[1].events |= libc::POLLOUT;
        }
        let used = if owner.is_some() { &mut polled[..] } else { &mut polled[1..] };
        let (start, count) = (used.as_mut_ptr(), used.len() as libc::nfds_t);
        // SAFETY: so many pollfds.
        let done = unsafe { libc::poll(start, count, at_most.map_or(-1, i32::from)) };
        if done < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            // EINVAL, under a limit of fewer open files than these: then they are looked at now
            // and then. Descriptors cannot be received any more, but whoever asks is to hear so.
            // SAFETY: no pollfds.
            unsafe { libc::poll(std::ptr::null_mut(), 0, LOOK_EVERY_MS) };
            polled[1..].iter_mut().for_each(|p| p.revents = libc::POLLIN);
        }
        let [orphaned, readable, ended] = polled.map(|p| p.revents != 0);
        if ended {
            // Takes the pending signal away; what it says may be out of date.
            let _ = self.0.read_signal();
        }
        Woken { readable, ended, orphaned }
    }
}

/// What has ended a pause.
pub(crate) struct Woken {
    /// Or there is room to write.
    pub(crate) readable: bool,
    /// Children have ended: all of them have to be reaped.
    pub(crate) ended: bool,
    /// The owner has ended.
    pub(crate) orphaned: bool,
}

/// Whether kill(2) can be given this number.
pub(crate) fn is_valid(signal: i32) -> bool {
    (0..=64).contains(&signal)
}

pub(crate) fn send(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: two numbers; the caller has checked that `pid` is its own unreaped
    // child.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
