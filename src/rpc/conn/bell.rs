//! How one who reads is woken by a thread of this process.
//!
//! Nearly always it is the worker who brings what he waits for. But while calls cannot be
//! sent, another thread may take one of them out, which makes room for his; or may find
//! that his cannot be sent at all. So then he waits for the bell too.
//!
//! He says that he listens, looks once more for what he waits for, and sleeps then:
//! whoever brings it later sees that somebody listens.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::lock;
use crate::error::Error;
use crate::left::Left;

/// Where there is no descriptor for a bell, he looks for himself as often as this.
pub(super) const LOOKS_EVERY: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct Bell {
    count: AtomicUsize,
    /// One, mostly: another may be about to have noticed that he reads no more.
    listening: Mutex<Vec<Arc<EventFd>>>,
}

/// One who listens, until it is dropped.
pub(super) struct Listens<'a> {
    bell: &'a Bell,
    event: Option<Arc<EventFd>>,
}

impl Bell {
    /// An error if a thread of the process that this one was forked from has it locked.
    pub(super) fn take_over(&self, left: &Left) -> Result<(), Error> {
        left.lock(&self.listening).map(drop)
    }

    pub(super) fn listen(&self) -> Listens<'_> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_flags(flags).ok().map(Arc::new);
        lock(&self.listening).extend(event.clone());
        self.count.fetch_add(1, Ordering::SeqCst);
        Listens { bell: self, event }
    }

    pub(super) fn ring(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            for event in &*lock(&self.listening) {
                // It only fails where it has been rung very often.
                let _ = event.write(1);
            }
        }
    }
}

impl Listens<'_> {
    /// Becomes readable when it rings; nothing, if there is no descriptor for it.
    pub(super) fn event(&self) -> Option<BorrowedFd<'_>> {
        self.event.as_deref().map(EventFd::as_fd)
    }
}

impl Drop for Listens<'_> {
    fn drop(&mut self) {
        self.bell.count.fetch_sub(1, Ordering::SeqCst);
        if let Some(own) = &self.event {
            lock(&self.bell.listening).retain(|event| !Arc::ptr_eq(event, own));
        }
    }
}
