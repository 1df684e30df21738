//! What the program was started with, noted in the hook, so that a template made
//! later by executing the program again begins with the same clean slate.
//!
//! Every program that links this library pays for this, used or not. So nothing is
//! allocated, and hardly any code but the hook's own is entered: in a program that has
//! just started, each page that is touched first costs more than some system calls.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::{image, settings};

/// Working directory, umask and limits at start.
#[repr(C)] // in this order: of the last, only the beginning is ever touched
pub(crate) struct Origin {
    pub(crate) limits: [[u64; 2]; settings::LIMITS],
    pub(crate) umask: u32,
    /// As getcwd(2) gives it; empty where there is none.
    directory: [u8; libc::PATH_MAX as usize],
}

struct Note(UnsafeCell<Origin>);

// SAFETY: written by `note` only, once; read by `get` only, after that.
unsafe impl Sync for Note {}

static NOTE: Note = Note(UnsafeCell::new(Origin {
    limits: [[0; 2]; settings::LIMITS],
    umask: 0,
    directory: [0; libc::PATH_MAX as usize],
}));
static BEGUN: AtomicBool = AtomicBool::new(false);
static NOTED: AtomicBool = AtomicBool::new(false);

/// The program's own file, if the hook has found it at once.
static EXECUTABLE: AtomicI32 = AtomicI32::new(-1);
static SOUGHT: OnceLock<io::Result<OwnedFd>> = OnceLock::new();

/// Notes them; in the hook, before anything else runs.
#[inline]
pub(crate) fn note() {
    if BEGUN.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: nobody else comes here, and nobody reads before NOTED is set.
    let origin = unsafe { &mut *NOTE.0.get() };
    settings::directory_at_start(&mut origin.directory);
    origin.umask = settings::umask_at_start();
    settings::limits_into(&mut origin.limits);
    NOTED.store(true, Ordering::Release);
}

pub(crate) fn get() -> Option<&'static Origin> {
    // SAFETY: once NOTED is set nobody writes.
    NOTED.load(Ordering::Acquire).then(|| unsafe { &*NOTE.0.get() })
}

impl Origin {
    pub(crate) fn directory(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.directory).ok().filter(|d| !d.is_empty())
    }
}

/// Opens the program's own file, so that it can be executed after it was replaced or
/// deleted. In the hook of the main program, after it has forked the early template: no
/// worker holds this descriptor.
#[inline]
pub(crate) fn note_executable() {
    if image::secure() {
        // It will not be executed, and what was given as its name is not to be trusted.
        return;
    }
    match image::open_named() {
        Some(fd) => EXECUTABLE.store(fd.into_raw_fd(), Ordering::Release),
        // If this fails, so will what needs it, with this error.
        None => drop(executable()),
    }
}

/// The program's own file.
pub(crate) fn executable() -> io::Result<BorrowedFd<'static>> {
    let noted = EXECUTABLE.load(Ordering::Acquire);
    if noted >= 0 {
        // SAFETY: put there by `note_executable`, and never closed.
        return Ok(unsafe { BorrowedFd::borrow_raw(noted) });
    }
    match SOUGHT.get_or_init(image::open_executable) {
        Ok(fd) => Ok(fd.as_fd()),
        Err(e) => {
            Err(e.raw_os_error().map_or_else(|| e.kind().into(), io::Error::from_raw_os_error))
        }
    }
}
