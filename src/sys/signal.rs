//! Signal dispositions and masks of templates and of what they fork.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
};

/// What a template ignores: its life hangs on its socket, and the parent of a
/// group that gets a Ctrl-C may still be draining.
const IGNORED: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE];

extern "C" fn noted(_: libc::c_int) {}

fn set(signal: Signal, handler: SigHandler, flags: SaFlags) {
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: `noted` does nothing, so it is safe in any context; the other two
    // are no functions. Errors are impossible for these signals.
    let _ = unsafe { sigaction(signal, &action) };
}

/// Dispositions of a process that serves: the ends of children interrupt `pause`,
/// and nothing but KILL and STOP ends it. All others go to their defaults, so that
/// a fork has few to reset; what std installed for stack overflows stays.
pub(crate) fn begin_serving() {
    for number in 1..=64 {
        if matches!(number, libc::SIGKILL | libc::SIGSTOP | libc::SIGSEGV | libc::SIGBUS) {
            continue;
        }
        // SAFETY: SIG_DFL; the C library refuses the numbers it keeps for itself.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    for signal in IGNORED {
        set(signal, SigHandler::SigIgn, SaFlags::empty());
    }
    // No SA_RESTART: ppoll is to return.
    set(Signal::SIGCHLD, SigHandler::Handler(noted), SaFlags::SA_NOCLDSTOP);
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGCHLD);
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None);
}

/// For a setup function: a process that serves, but one that can run and wait for
/// other programs.
pub(crate) fn begin_setup() {
    set(Signal::SIGCHLD, SigHandler::SigDfl, SaFlags::empty());
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Dispositions of an entry: all default but SIGPIPE, as in any Rust program, and
/// an empty mask. `thorough` after user code has run in this process.
pub(crate) fn begin_entry(thorough: bool) {
    if thorough {
        begin_serving();
    }
    for signal in &IGNORED[..4] {
        set(*signal, SigHandler::SigDfl, SaFlags::empty());
    }
    set(Signal::SIGCHLD, SigHandler::SigDfl, SaFlags::empty());
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// For a program that is about to be executed: SIGPIPE at its default as well, and
/// SIGSEGV and SIGBUS, since an exec keeps no handlers but does keep what is ignored.
pub(crate) fn begin_program() {
    begin_entry(true);
    for signal in [Signal::SIGPIPE, Signal::SIGSEGV, Signal::SIGBUS] {
        set(signal, SigHandler::SigDfl, SaFlags::empty());
    }
}

/// Waits until `socket` can be read (or written, if `write`), or a child ends.
pub(crate) fn pause(socket: impl AsFd, write: bool) {
    let mut poll = libc::pollfd {
        fd: socket.as_fd().as_raw_fd(),
        events: libc::POLLIN | if write { libc::POLLOUT } else { 0 },
        revents: 0,
    };
    let open = SigSet::empty();
    // SAFETY: one pollfd, no timeout, a valid mask. The mask lets SIGCHLD in for
    // just the time of the call, so no end of a child falls between a check and
    // the wait.
    unsafe { libc::ppoll(&mut poll, 1, std::ptr::null(), open.as_ref()) };
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
