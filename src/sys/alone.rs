//! Sockets that are this process's alone: a fork that it makes of itself gets another one in
//! their place, which leads nowhere. The other side would else see no end when this process
//! ends, for as long as the fork lives.
//!
//! It is done by the C library, in the fork (pthread_atfork(3)). One that is made without it,
//! by clone(2) itself, is not noticed.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// A number, and what it stood for: it may have been closed, and be another's by now.
struct Kept {
    number: AtomicI32,
    inode: AtomicU64,
}

/// A worker has its stream, by which it writes, that by which it reads, and one for a runtime.
static KEPT: [Kept; 4] =
    [const { Kept { number: AtomicI32::new(-1), inode: AtomicU64::new(0) } }; 4];

unsafe extern "C" {
    pub(super) fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> libc::c_int;
}

/// From now on forks of this process do not get this socket.
pub(crate) fn keep(socket: impl AsFd) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the function may be called in any fork: it only makes system calls. If there
        // is no memory to note it, forks have the socket.
        unsafe { pthread_atfork(None, None, Some(replace)) };
    });
    let number = socket.as_fd().as_raw_fd();
    let Some(inode) = inode_of(number) else { return };
    if let Some(kept) = KEPT.iter().find(|kept| kept.number.load(Ordering::Relaxed) < 0) {
        kept.inode.store(inode, Ordering::Relaxed);
        kept.number.store(number, Ordering::Release);
    }
}

fn inode_of(number: RawFd) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat fills the structure, if it succeeds. A number that is not open is an error
    // like others.
    unsafe {
        let done = libc::fstat(number, stat.as_mut_ptr()) == 0;
        done.then(|| stat.assume_init())
            .filter(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFSOCK)
            .map(|stat| stat.st_ino)
    }
}

/// In a fork of any process, threaded ones included: nothing but system calls, and no memory
/// is taken. The numbers stay in use, since this library's objects have them still.
unsafe extern "C" fn replace() {
    let mut instead = -1;
    for Kept { number, inode } in &KEPT {
        let number = number.load(Ordering::Acquire);
        if number < 0 {
            break;
        }
        if inode_of(number) != Some(inode.load(Ordering::Relaxed)) {
            continue;
        }
        // SAFETY: what is replaced is this library's own socket, whose owner is told here that
        // nobody listens; it is closed only where there is no room for another one.
        unsafe {
            if instead < 0 {
                instead = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            }
            if instead < 0 || libc::dup3(instead, number, libc::O_CLOEXEC) < 0 {
                libc::close(number);
            }
        }
    }
    if instead >= 0 {
        // SAFETY: it was opened above, and nobody has it.
        unsafe { libc::close(instead) };
    }
}
