//! Our own image in memory: is this code in the main executable, and which file
//! is that?

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat, stat};

unsafe extern "C" {
    // Defined by every linker at the ELF header of the object that is linked.
    static __ehdr_start: u8;
}

const HEADER: usize = size_of::<libc::Elf64_Ehdr>();

fn header() -> &'static libc::Elf64_Ehdr {
    // SAFETY: the linker's symbol for this object's ELF header, which is mapped
    // read-only for as long as the object is loaded; this code lies in it.
    unsafe { &*(&raw const __ehdr_start).cast::<libc::Elf64_Ehdr>() }
}

fn header_bytes() -> [u8; HEADER] {
    // SAFETY: as above; Elf64_Ehdr has no padding.
    unsafe { *(&raw const __ehdr_start).cast::<[u8; HEADER]>() }
}

fn auxv(key: libc::c_ulong) -> usize {
    // SAFETY: looks a number up in a table.
    unsafe { libc::getauxval(key) as usize }
}

/// Whether this copy of the library is linked into the main executable. In a
/// shared object the header is that of the object, while the kernel's AT_PHDR is
/// the program's.
pub(crate) fn in_main_executable() -> bool {
    let base = (&raw const __ehdr_start) as usize;
    base.wrapping_add(header().e_phoff as usize) == auxv(libc::AT_PHDR)
}

/// Whether the program has privileges that its caller has not (set-user-ID, file
/// capabilities): then nothing in the environment is to be trusted.
pub(crate) fn secure() -> bool {
    auxv(libc::AT_SECURE) != 0
}

/// Whether the file has a set-user-ID or set-group-ID bit.
pub(crate) fn has_set_id(executable: BorrowedFd<'_>) -> bool {
    let bits = (Mode::S_ISUID | Mode::S_ISGID).bits();
    nix::sys::stat::fstat(executable).map_or(true, |file| file.st_mode & bits != 0)
}

/// Whether the file has capabilities (setcap(8)).
pub(crate) fn has_capabilities(executable: BorrowedFd<'_>) -> bool {
    // By name, because an O_PATH descriptor has no attributes: that of the descriptor,
    // or without /proc the one that was executed.
    let open = format!("/proc/self/fd/{}", executable.as_raw_fd());
    let names = [Some(Path::new(&open)), executed_name()];
    let name = names.into_iter().flatten().find(|name| name.exists());
    let name = name.and_then(|n| CString::new(n.as_os_str().as_bytes()).ok());
    let attribute = c"security.capability".as_ptr();
    // SAFETY: two strings that end with a NUL; no value is asked for, only its size.
    name.is_some_and(|n| unsafe {
        libc::getxattr(n.as_ptr(), attribute, std::ptr::null_mut(), 0) > 0
    })
}

/// A number that tells builds apart, so that a re-executed template never runs
/// another build than the one that asks it.
pub(crate) fn fingerprint() -> u64 {
    // FNV-1a: entry point and section offset, which are in the header, differ
    // between any two builds in which a byte of code moved.
    header_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The file that execve(2) was told, if it is this program: the common case, at a tenth of
/// what looking into /proc costs. (Not for a program that is set-user-ID.)
#[inline]
pub(crate) fn open_named() -> Option<OwnedFd> {
    let name = auxv(libc::AT_EXECFN) as *const libc::c_char;
    if name.is_null() {
        return None;
    }
    // A name may lead anywhere by now: neither to wait, nor to get a terminal.
    let how = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut bytes = [0; HEADER];
    // SAFETY: a string, as in `executed_name`; the descriptor is new and nobody else's;
    // read writes no more than the buffer holds.
    let (fd, read) = unsafe {
        let fd = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, name, how) as RawFd;
        if fd < 3 {
            // Not there, or not readable; or where a standard stream belongs, which the
            // other road moves out of the way.
            if fd >= 0 {
                libc::close(fd);
            }
            return None;
        }
        let read = libc::syscall(libc::SYS_read, fd, bytes.as_mut_ptr(), HEADER);
        (OwnedFd::from_raw_fd(fd), read)
    };
    (read == HEADER as libc::c_long && bytes == header_bytes()).then_some(fd)
}

/// An O_PATH descriptor on the file that this program was loaded from.
///
/// `/proc/self/exe` names it, except where a loader was executed with the program
/// as its argument (ld.so, valgrind, qemu-user) or there is no /proc; the name
/// given to execve(2) does, except for scripts and `fexecve`. Where both agree,
/// that is that; else the one whose ELF header is the one in memory.
pub(crate) fn open_executable() -> io::Result<OwnedFd> {
    let name = executed_name();
    let link = Path::new("/proc/self/exe");
    let opened = open_path(link);
    if let (Ok(fd), Some(name)) = (&opened, name)
        && let (Ok(a), Ok(b)) = (fstat(fd), stat(name))
        && (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
    {
        return opened;
    }
    for path in [Some(link), name].into_iter().flatten() {
        if is_this_image(path) {
            return open_path(path);
        }
    }
    // Execute permission without read permission: there is no header to compare.
    match (opened, name) {
        (Err(_), Some(name)) => open_path(name),
        (opened, _) => opened,
    }
}

fn executed_name() -> Option<&'static Path> {
    let name = auxv(libc::AT_EXECFN) as *const libc::c_char;
    if name.is_null() {
        return None;
    }
    // SAFETY: AT_EXECFN is the address of a string that the kernel (or the loader)
    // placed above the stack for the life of the process.
    let name = unsafe { CStr::from_ptr(name) };
    Some(Path::new(OsStr::from_bytes(name.to_bytes())))
}

fn is_this_image(path: &Path) -> bool {
    let mut bytes = [0; HEADER];
    File::open(path).and_then(|mut f| f.read_exact(&mut bytes)).is_ok() && bytes == header_bytes()
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let fd = loop {
        match open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
            // By a handler of the program, where the lookup takes its time.
            Err(Errno::EINTR) => {}
            opened => break opened?,
        }
    };
    super::fds::above_stdio(fd)
}
