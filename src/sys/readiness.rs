//! A descriptor whose readiness a tokio runtime watches.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// Registers a duplicate of a socket of this process alone with the runtime that this thread is in. Nothing about the
/// descriptor's flags is changed: whoever reads or writes says for each time that it does
/// not want to wait.
pub(crate) fn watch(fd: impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = fd.as_fd().try_clone_to_owned()?;
    super::alone::keep(&fd);
    // SAFETY: it owns a valid descriptor, which is neither replaced nor closed before it
    // is dropped: nobody gets it but by shared reference.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
