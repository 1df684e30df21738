//! Settings of a process: environment, limits, priority, umask, group.

use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, fchdir, setpgid};

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets or, with `None`, removes a variable. For a process with one thread.
pub(crate) fn set_env(key: &CStr, value: Option<&CStr>) -> io::Result<()> {
    // SAFETY: both are C strings, and no other thread reads the environment.
    check(unsafe {
        match value {
            Some(value) => libc::setenv(key.as_ptr(), value.as_ptr(), 1),
            None => libc::unsetenv(key.as_ptr()),
        }
    })
}

/// Empties the environment. For a process with one thread.
pub(crate) fn clear_env() -> io::Result<()> {
    // SAFETY: no other thread reads the environment.
    check(unsafe { libc::clearenv() })
}

/// The umask of this process; only for the time before other threads exist,
/// since asking means setting it.
#[inline]
pub(crate) fn umask_at_start() -> u32 {
    // SAFETY: a number each.
    unsafe {
        let old = libc::syscall(libc::SYS_umask, 0);
        libc::syscall(libc::SYS_umask, old);
        old as u32
    }
}

/// The working directory, with a NUL behind it; nothing where it has no name (it was
/// removed, or lies outside of our root). By system call: the C library allocates.
#[inline]
pub(crate) fn directory_at_start(into: &mut [u8]) {
    // SAFETY: writes no more than it is told that there is room for.
    let len = unsafe { libc::syscall(libc::SYS_getcwd, into.as_mut_ptr(), into.len()) };
    if len <= 0 || into[0] != b'/' {
        into[0] = 0;
    }
}

/// The umask now, by way of /proc, without a moment in which it is another.
pub(crate) fn umask_now() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

pub(crate) fn set_umask(mask: u32) {
    umask(Mode::from_bits_truncate(mask));
}

/// How many resource limits Linux has (RLIM_NLIMITS).
pub(crate) const LIMITS: usize = 16;

/// All limits of this process, by number: soft and hard.
pub(crate) fn limits() -> [[u64; 2]; LIMITS] {
    let mut limits = [[0; 2]; LIMITS];
    limits_into(&mut limits);
    limits
}

#[inline]
pub(crate) fn limits_into(limits: &mut [[u64; 2]; LIMITS]) {
    for (resource, limit) in limits.iter_mut().enumerate() {
        *limit = [u64::MAX; 2];
        // It fails for no resource that there is. Not prlimit64, which looks up a process
        // and asks whether we may, at more than twice the price; the two structs are the
        // same where numbers have 64 bits.
        // SAFETY: writes two u64.
        unsafe { libc::syscall(libc::SYS_getrlimit, resource, limit.as_mut_ptr()) };
    }
}

pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    // By system call: the wrappers differ between glibc and musl.
    // SAFETY: reads two u64 (struct rlimit64); an unknown resource is EINVAL.
    let done = unsafe {
        let none = std::ptr::null_mut::<u64>();
        libc::syscall(libc::SYS_prlimit64, 0, resource, [soft, hard].as_ptr(), none)
    };
    check(done as libc::c_int)
}

pub(crate) fn nice_now() -> i32 {
    // SAFETY: asks. -1 is a valid niceness; for ourselves the call cannot fail.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Sets the niceness itself (-20 to 19), not a change of it.
pub(crate) fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: two numbers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })
}

/// CPUs that a set can name.
pub(crate) const CPUS: usize = 1024;

/// One bit for each CPU, the first in the lowest bit of the first byte.
pub(crate) fn set_affinity(set: &[u8]) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    for cpu in (0..8 * set.len().min(CPUS / 8)).filter(|cpu| set[cpu / 8] & 1 << (cpu % 8) != 0) {
        cpus.set(cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// Moves this process to a control group, by its directory.
pub(crate) fn enter_cgroup(directory: &Path) -> io::Result<()> {
    // 0 is whoever writes it. Not created where there is none: that is no control group.
    let mut procs = std::fs::OpenOptions::new().write(true).open(directory.join("cgroup.procs"))?;
    procs.write_all(b"0")
}

pub(crate) fn set_group(group: i32) -> io::Result<()> {
    Ok(setpgid(Pid::from_raw(0), Pid::from_raw(group))?)
}

pub(crate) fn set_directory(path: &CStr) -> io::Result<()> {
    // SAFETY: a C string.
    check(unsafe { libc::chdir(path.as_ptr()) })
}

pub(crate) fn set_directory_fd(fd: OwnedFd) -> io::Result<()> {
    Ok(fchdir(fd)?)
}

/// Executes a program, looked up in PATH if its name has no slash. Returns only
/// with an error.
pub(crate) fn exec(args: &[CString]) -> io::Error {
    let mut pointers: Vec<_> = args.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: a NULL-terminated array of C strings that outlive the call.
    unsafe { libc::execvp(pointers[0], pointers.as_ptr()) };
    io::Error::last_os_error()
}
