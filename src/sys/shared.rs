//! Numbers on pages that a process shares with what it forks, or does not.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A new page that forks share instead of copying, never unmapped: it holds three
/// numbers, initially 0.
pub(crate) fn shared_numbers() -> io::Result<&'static [AtomicU64; 3]> {
    let page = page(libc::MAP_SHARED)?;
    // SAFETY: page-aligned, zeroed, lives for ever, and is only ever used as these
    // atomics.
    Ok(unsafe { &*page.cast::<[AtomicU64; 3]>() })
}

/// A new page of this process alone, never unmapped, with one number, initially 0; in a
/// fork of the process, however it is made, it is 0 again (MADV_WIPEONFORK).
pub(crate) fn wiped_number() -> io::Result<&'static AtomicU32> {
    let page = page(libc::MAP_PRIVATE)?;
    // SAFETY: the whole of the page just mapped, which nobody has used yet.
    if unsafe { libc::madvise(page, size_of::<AtomicU32>(), libc::MADV_WIPEONFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: the same page, to which there is no reference.
        unsafe { libc::munmap(page, size_of::<[AtomicU64; 3]>()) };
        return Err(error);
    }
    // SAFETY: as in `shared_numbers`.
    Ok(unsafe { &*page.cast::<AtomicU32>() })
}

fn page(sharing: libc::c_int) -> io::Result<*mut libc::c_void> {
    // SAFETY: a fresh anonymous mapping, at an address of the kernel's choice.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<[AtomicU64; 3]>(),
            libc::PROT_READ | libc::PROT_WRITE,
            sharing | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(page) }
}

/// The value behind a pointer that is null or came from a leaked box.
pub(crate) fn leaked(pointer: *mut crate::home::Home) -> Option<&'static crate::home::Home> {
    // SAFETY: the only pointers given here are read from `home::CURRENT`, which
    // holds null or the address of a Home that was leaked.
    unsafe { pointer.as_ref() }
}
