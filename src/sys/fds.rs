//! File descriptor numbers: keeping ours away from 0 to 2, closing what a
//! template must not hold, placing descriptors for a program that is executed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Moves a descriptor that landed on 0, 1 or 2 out of the way: in a program
/// started with those closed, a `println!` would go into it.
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { above(fd.as_fd(), 3) }
}

/// A close-on-exec copy whose number is at least `floor`.
pub(crate) fn above(fd: BorrowedFd<'_>, floor: RawFd) -> io::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(floor)).map_err(|errno| match errno {
        // The floor is above the limit: there is no room either.
        Errno::EINVAL => Errno::EMFILE,
        errno => errno,
    })?;
    // SAFETY: fcntl just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Opens /dev/null on each of 0, 1 and 2 that is closed, as std does on the way
/// to `main`.
pub(crate) fn reopen_stdio() {
    for raw in 0..3 {
        // SAFETY: F_GETFD on any number only asks.
        if unsafe { libc::fcntl(raw, libc::F_GETFD) } >= 0 {
            continue;
        }
        // SAFETY: opens a constant path. The lowest free number is `raw`, since
        // all below it are open by now.
        unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
    }
}

/// Takes ownership of a descriptor by number, if one is open there.
pub(crate) fn adopt(raw: RawFd) -> Option<OwnedFd> {
    if raw < 3 {
        return None;
    }
    // SAFETY: F_GETFD only asks.
    if unsafe { libc::fcntl(raw, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and the caller (the hook, of what it was executed with or has
    // opened itself) is the only one who knows of it.
    Some(unsafe { OwnedFd::from_raw_fd(raw) })
}

pub(crate) fn set_close_on_exec(fd: impl AsFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// Closes every descriptor above 2 except `keep`. Only for a process in which no
/// Rust object owns a descriptor yet: a template, in the hook.
pub(crate) fn close_all_but(keep: &OwnedFd) {
    let keep = keep.as_raw_fd() as u32;
    if keep > 3 {
        close_range(3, keep - 1);
    }
    close_range(keep + 1, u32::MAX);
}

fn close_range(first: u32, last: u32) {
    // By system call: musl has no wrapper.
    // SAFETY: see `close_all_but`: nobody owns what is closed here.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) };
    if done == 0 {
        return;
    }
    let listed: Vec<u32> = std::fs::read_dir("/proc/self/fd")
        .map(|dir| {
            dir.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
                .filter(|n| (first..=last).contains(n))
                .collect()
        })
        .unwrap_or_else(|_| (first..=last.min(open_limit())).collect());
    for raw in listed {
        // SAFETY: as above.
        unsafe { libc::close(raw as RawFd) };
    }
}

/// How many descriptors this process may have open.
pub(crate) fn open_limit() -> u32 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(4096, |(soft, _)| soft.min(1 << 20) as u32)
}

/// Whether the kernel has close_range(2).
pub(crate) fn has_close_range() -> bool {
    // An empty range beyond every descriptor closes nothing.
    // SAFETY: see above.
    unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0u32) == 0 }
}

/// Makes `target` (0, 1 or 2) refer to what `fd` refers to, inheritable.
pub(crate) fn onto_stdio(fd: OwnedFd, target: RawFd) -> io::Result<()> {
    // SAFETY: dup2 onto a standard stream replaces what nobody owns as a Rust
    // object with a close: std's handles of 0 to 2 never close.
    if unsafe { libc::dup2(fd.as_raw_fd(), target) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Which file a descriptor refers to, as far as fstat(2) tells: device and inode.
pub(crate) type FileId = (u64, u64, u64);

#[allow(clippy::unnecessary_cast, reason = "of other types elsewhere")]
pub(crate) fn file_id(fd: impl AsFd) -> Option<FileId> {
    let stat = nix::sys::stat::fstat(fd).ok()?;
    Some((stat.st_dev as u64, stat.st_ino as u64, stat.st_rdev as u64))
}

/// What 0, 1 and 2 are.
pub(crate) fn stdio_files() -> [Option<FileId>; 3] {
    [file_id(io::stdin()), file_id(io::stdout()), file_id(io::stderr())]
}

/// Copies of 0, 1 and 2, of /dev/null where one is closed.
pub(crate) fn stdio() -> io::Result<[OwnedFd; 3]> {
    let or_null = |copy: io::Result<OwnedFd>| match copy {
        Err(e) if e.raw_os_error() == Some(libc::EBADF) => null(),
        copy => copy,
    };
    Ok([
        or_null(above(io::stdin().as_fd(), 3))?,
        or_null(above(io::stdout().as_fd(), 3))?,
        or_null(above(io::stderr().as_fd(), 3))?,
    ])
}

/// /dev/null, at none of 0 to 2.
pub(crate) fn null() -> io::Result<OwnedFd> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    above_stdio(null.into())
}

/// Places `fds` at 3, 4, … without close-on-exec, for a program that is about to
/// be executed; `aside` are moved out of the way and stay close-on-exec.
pub(crate) fn place_for_exec(fds: Vec<OwnedFd>, aside: &mut [&mut OwnedFd]) -> io::Result<()> {
    if fds.is_empty() {
        return Ok(());
    }
    let floor = 3 + fds.len() as RawFd;
    for fd in aside.iter_mut() {
        **fd = above(fd.as_fd(), floor)?;
    }
    let high = fds.iter().map(|fd| above(fd.as_fd(), floor)).collect::<io::Result<Vec<_>>>()?;
    drop(fds);
    for (i, fd) in high.iter().enumerate() {
        // SAFETY: every descriptor of ours is at `floor` or above by now; what a
        // setup function left open at this number goes away with the exec anyway.
        if unsafe { libc::dup2(fd.as_raw_fd(), 3 + i as RawFd) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Makes descriptors that others own refer to /dev/null instead: what they referred
/// to is let go, and their owners still own something. For a fork that must not
/// keep its parent's sockets.
pub(crate) fn blank(numbers: &[RawFd]) -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    for raw in numbers {
        // SAFETY: the number stays open, and its owner its only owner.
        if unsafe { libc::dup3(null.as_raw_fd(), *raw, libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
