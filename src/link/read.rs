//! Reading replies: by whoever waits for one, by whoever comes by, or by the hub.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};

use super::Link;
use crate::error::Error;
use crate::hub::{Interest, Watched};
use crate::left::Left;
use crate::slot::{Loss, Slot};
use crate::sys::fdpass;
use crate::sys::turns::{self, Turn};
use crate::wire::{self, MAX_REPLY, Malformed, Reply};

impl Link {
    /// Reads one reply, waiting for it until the deadline.
    pub(super) fn pump(&self, deadline: Option<Instant>) {
        if self.armed.swap(false, Ordering::AcqRel) {
            self.home.hub_set(self, Interest::default());
        }
        if deadline.is_some() || Turn::is_here() {
            let left = deadline.map_or(PollTimeout::NONE, |deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                // Rounded up: a poll of 0 ms would spin through the last millisecond.
                PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
            });
            let mut polled = [PollFd::new(self.socket(), PollFlags::POLLIN)];
            if !matches!(turns::asleep(|| poll(&mut polled, left)), Ok(n) if n > 0) {
                return;
            }
        }
        self.read_one(true);
    }

    /// Reads one reply; whether there may be more.
    fn read_one(&self, wait: bool) -> bool {
        let mut buffer = [0; MAX_REPLY];
        let mut fds = Vec::new();
        let received = match fdpass::receive(&self.socket, &mut buffer, &mut fds, wait) {
            Ok(Some(received)) => received,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(None) | Err(_) => {
                self.close(Loss::Gone);
                return false;
            }
        };
        self.unread.store(0, Ordering::Relaxed);
        if received.truncated && !received.fds_lost {
            self.close(Loss::Protocol("a datagram that is too long"));
            return false;
        }
        let parsed = match Reply::parse(&buffer[..received.len], &mut fds) {
            // There was no room for the descriptor: a fault of ours, not of the peer.
            _ if received.fds_lost => Ok((wire::id_of(&buffer), Reply::Done(libc::EMFILE))),
            parsed => parsed,
        };
        match parsed.and_then(|(id, reply)| self.hand_out(id, reply)) {
            Ok(()) => true,
            Err(Malformed(why)) => {
                self.close(Loss::Protocol(why));
                false
            }
        }
    }

    /// Replies that nobody waits for any more are thrown away here.
    fn hand_out(&self, id: u64, reply: Reply) -> Result<(), Malformed> {
        let slot = self.slots().open.get(&id).cloned();
        if let Some(slot) = slot
            && slot.take(reply)?
        {
            self.slots().open.remove(&id);
        }
        Ok(())
    }

    fn close(&self, loss: Loss) {
        let lost = {
            let mut slots = self.slots();
            slots.lost.get_or_insert(loss);
            std::mem::take(&mut slots.open)
        };
        // A peer that does not keep to the protocol is let go, not listened to.
        self.abandon();
        for slot in lost.values() {
            slot.lose(loss);
            // If that cannot be done, they have been told.
            let _ = slot.look_after(self.home);
        }
    }

    /// Reads what is there, if nobody else does. Whether the template is gone.
    pub(crate) fn drain(&self) -> bool {
        self.unread.store(0, Ordering::Relaxed);
        self.lead.poll(|| while self.read_one(false) {});
        self.arm();
        self.is_closed()
    }

    /// From now on somebody is to be told without waiting: the hub reads where no
    /// waiting thread does.
    pub(crate) fn watch(self: &Arc<Link>) -> Result<(), Error> {
        if self.hub_key.load(Ordering::Acquire) == 0 {
            let watched: Arc<dyn Watched> = Arc::clone(self) as _;
            self.home.hub_add(&watched)?;
        }
        self.watched.store(true, Ordering::Release);
        self.arm();
        Ok(())
    }

    /// The same, for what is to be heard of one process: by the template, or when that is
    /// lost by the kernel.
    pub(crate) fn watch_for(self: &Arc<Link>, slot: &Arc<Slot>) -> Result<(), Error> {
        if slot.lock().lost.is_some() { slot.look_after(self.home) } else { self.watch() }
    }

    pub(super) fn arm(&self) {
        if !self.watched.load(Ordering::Acquire) {
            return;
        }
        self.lead.if_idle(|| {
            let awaited = !self.slots().open.is_empty();
            if awaited && !self.armed.swap(true, Ordering::AcqRel) {
                self.home.hub_set(self, Interest { read: true, write: false });
            }
        });
    }

    /// Ends the template, and all that was forked from it. By whoever has no handle of it.
    pub(crate) fn abandon(&self) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }

    /// Takes the link over from the process that this one was forked from.
    pub(crate) fn adopt(&self, left: &Left) -> Result<(), Error> {
        drop(left.lock(&self.slots)?);
        left.wait_for(|| self.lead.try_reset())?;
        // That one's hub had a thread, which is not here.
        self.watched.store(false, Ordering::Release);
        self.hub_key.store(0, Ordering::Release);
        self.armed.store(false, Ordering::Release);
        self.pass_streams();
        Ok(())
    }
}

impl Watched for Link {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn hub_key(&self) -> &AtomicU64 {
        &self.hub_key
    }

    fn hub_event(self: Arc<Link>) {
        self.armed.store(false, Ordering::Release);
        self.drain();
    }
}
