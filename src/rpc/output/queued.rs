//! Where nobody is to wait for the parent: what it has no room for is queued, up to a
//! limit, and sent when there is room.

use super::{Output, QUEUED_AT_MOST};

impl Output {
    /// From now on senders do not wait, unless very much is queued; `tell` is called
    /// when something is.
    pub(in super::super) fn queue(&self, tell: impl Fn() + Send + Sync + 'static) {
        // It is set once, at the start.
        let _ = self.queued.set(Box::new(tell));
    }

    /// Whether anything is queued.
    pub(in super::super) fn is_queued(&self) -> bool {
        !self.lock().outbox.is_empty()
    }

    /// Whether so much is queued that no more should be made.
    pub(in super::super) fn is_over(&self) -> bool {
        self.lock().outbox.bytes() >= QUEUED_AT_MOST
    }

    /// Sends as much as there is room for; whether that was all.
    pub(in super::super) fn drain(&self) -> bool {
        let mut pending = self.lock();
        self.write(&mut pending, false);
        pending.outbox.is_empty()
    }
}
