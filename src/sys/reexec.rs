//! Executing the program's own file again, from a program of any number of
//! threads and any size.
//!
//! As posix_spawn(3) does it: a child that shares our memory and runs while we
//! are suspended, so nothing is copied and no lock can be met half-taken. It is
//! not posix_spawn, because that takes a path where we hold a descriptor, and has
//! no way to set limits and umask.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

/// Everything that the new program starts with.
pub(crate) struct Image<'a> {
    pub(crate) executable: BorrowedFd<'a>,
    /// The one descriptor that it inherits besides 0 to 2.
    pub(crate) socket: BorrowedFd<'a>,
    pub(crate) args: &'a [CString],
    pub(crate) environment: &'a [CString],
    pub(crate) directory: Option<&'a CStr>,
    pub(crate) umask: Option<u32>,
    pub(crate) limits: &'a [[u64; 2]],
    /// Set-user-ID bits of the file are to have no effect (nor those of any other that
    /// is executed later).
    pub(crate) no_new_privileges: bool,
}

struct Job<'a> {
    image: &'a Image<'a>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    errno: i32,
}

const STACK: usize = 64 * 1024;

/// Executes `image` in a new process, a child of this one; returns its pid once
/// the new program is in place.
pub(crate) fn spawn(image: &Image<'_>) -> io::Result<i32> {
    let pointers = |strings: &[CString]| {
        let all = strings.iter().map(|s| s.as_ptr());
        all.chain([ptr::null()]).collect::<Vec<_>>()
    };
    let mut job =
        Job { image, argv: pointers(image.args), envp: pointers(image.environment), errno: 0 };
    let mut stack = vec![0u128; STACK / size_of::<u128>()];
    let mut mask = SigSet::empty();
    // No handler of ours may run in the child: it would run in our memory.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut mask))?;
    // SAFETY: the child runs `run` on its own stack (clone takes its top, 16-byte
    // aligned) while this thread is suspended (CLONE_VFORK), and makes system calls
    // only; `job` and `stack` outlive it, since it has executed or exited by the
    // time clone returns.
    let pid = unsafe {
        libc::clone(
            run,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut job).cast(),
        )
    };
    let failed = if pid < 0 { Some(io::Error::last_os_error()) } else { None };
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
    if let Some(error) = failed {
        return Err(error);
    }
    // SAFETY: the child wrote it through the pointer given to clone, or not at all.
    let errno = unsafe { ptr::read_volatile(&raw const job.errno) };
    if errno != 0 {
        let _ = super::wait::reap(pid);
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok(pid)
}

extern "C" fn run(job: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the Job of the suspended parent, ours until we exec or exit. Only
    // system calls from here on: no allocation, no lock, no unwinding.
    unsafe {
        let job = &mut *job.cast::<Job<'_>>();
        let image = job.image;
        if let Some(directory) = image.directory {
            // Best effort: where it is gone, the program starts where we are.
            libc::chdir(directory.as_ptr());
        }
        if let Some(umask) = image.umask {
            libc::umask(umask as libc::mode_t);
        }
        for (resource, limit) in image.limits.iter().enumerate() {
            // Best effort: a lowered hard limit cannot be raised again.
            libc::syscall(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), ptr::null_mut::<u64>());
        }
        if image.no_new_privileges && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            ptr::write_volatile(&raw mut job.errno, *libc::__errno_location());
            libc::_exit(127)
        }
        if libc::fcntl(image.socket.as_fd().as_raw_fd(), libc::F_SETFD, 0) == 0 {
            libc::syscall(
                libc::SYS_execveat,
                image.executable.as_raw_fd(),
                c"".as_ptr(),
                job.argv.as_ptr(),
                job.envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
        }
        ptr::write_volatile(&raw mut job.errno, *libc::__errno_location());
        libc::_exit(127)
    }
}
