//! What the program was started with, noted in the hook, so that a template made
//! later by executing the program again begins with the same clean slate.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use super::{image, settings};

/// Working directory, umask and limits at start.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) directory: Option<CString>,
    pub(crate) umask: u32,
    pub(crate) limits: [[u64; 2]; settings::LIMITS],
}

static ORIGIN: OnceLock<Origin> = OnceLock::new();
static EXECUTABLE: OnceLock<io::Result<OwnedFd>> = OnceLock::new();

/// Notes them; in the hook, before anything else runs.
pub(crate) fn note() {
    let _ = ORIGIN.set(Origin {
        directory: std::env::current_dir()
            .ok()
            .and_then(|d| CString::new(d.into_os_string().into_vec()).ok()),
        umask: settings::umask_at_start(),
        limits: settings::limits(),
    });
}

pub(crate) fn get() -> Option<&'static Origin> {
    ORIGIN.get()
}

/// The program's own file, opened at the first call, which the hook makes in the
/// main program (after it has forked the early template: no worker holds this
/// descriptor), so that it can be executed after it was replaced or deleted.
pub(crate) fn executable() -> io::Result<BorrowedFd<'static>> {
    match EXECUTABLE.get_or_init(image::open_executable) {
        Ok(fd) => Ok(fd.as_fd()),
        Err(e) => {
            Err(e.raw_os_error().map_or_else(|| e.kind().into(), io::Error::from_raw_os_error))
        }
    }
}
