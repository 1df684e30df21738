//! A number shared between a process and what it forks.

use std::io;
use std::sync::atomic::AtomicI32;

/// A new page that forks share instead of copying, never unmapped: it holds one
/// number, initially 0.
pub(crate) fn shared_number() -> io::Result<&'static AtomicI32> {
    // SAFETY: a fresh anonymous mapping, at an address of the kernel's choice.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<AtomicI32>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: page-aligned, zeroed, lives for ever, and is only ever used as this
    // atomic.
    Ok(unsafe { &*page.cast::<AtomicI32>() })
}

/// The value behind a pointer that is null or came from a leaked box.
pub(crate) fn leaked(pointer: *mut crate::home::Home) -> Option<&'static crate::home::Home> {
    // SAFETY: the only pointers given here are read from `home::CURRENT`, which
    // holds null or the address of a Home that was leaked.
    unsafe { pointer.as_ref() }
}
