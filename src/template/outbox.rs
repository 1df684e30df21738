//! Replies: sent if there is room, kept in their order if there is none.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use super::Template;
use crate::error::is_shortage;
use crate::sys::fdpass;
use crate::wire::Reply;

/// What has become of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Or nobody is left to read it, which `receive` finds out.
    Done,
    /// The parent has others to read first: the socket says when there is room.
    Full,
    /// The kernel had no memory for it, say: nothing says when it will.
    NotNow,
    /// What is no shortage, and may stay as it is.
    Refused,
}

impl Sent {
    /// Sends without waiting.
    pub(crate) fn try_send(control: &OwnedFd, datagram: &[u8]) -> Sent {
        match fdpass::send(control, &[IoSlice::new(datagram)], &[], false) {
            Ok(()) => Sent::Done,
            Err(e) if fdpass::is_end(&e) => Sent::Done,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Sent::Full,
            Err(e) if e.raw_os_error().is_some_and(is_shortage) => Sent::NotNow,
            Err(_) => Sent::Refused,
        }
    }
}

/// How long to wait before something is tried again, in milliseconds, after a wait of
/// `before`: longer each time, up to a tenth of a second.
pub(crate) fn longer(before: u16) -> u16 {
    (before * 2).clamp(1, 100)
}

impl Template {
    pub(super) fn reply(&mut self, id: u64, reply: &Reply) {
        let datagram = reply.encode(id);
        if self.outbox.is_empty() && Sent::try_send(self.control(), &datagram) == Sent::Done {
            return;
        }
        self.outbox.push_back(datagram);
    }

    /// Sends what the socket takes. The order of replies is kept, and none is given up:
    /// somebody may be waiting for it.
    pub(super) fn deliver(&mut self) {
        while let Some(datagram) = self.outbox.front() {
            match Sent::try_send(self.control(), datagram) {
                Sent::Done => drop(self.outbox.pop_front()),
                Sent::Full => {
                    self.again_in = 0;
                    return;
                }
                Sent::NotNow | Sent::Refused => {
                    self.again_in = longer(self.again_in);
                    return;
                }
            }
            self.again_in = 0;
        }
    }

    /// What to wait for so that `deliver` can go on: room, or that so many milliseconds pass.
    pub(super) fn undelivered(&self) -> (bool, Option<u16>) {
        let again_in = Some(self.again_in).filter(|ms| *ms > 0);
        (!self.outbox.is_empty() && again_in.is_none(), again_in)
    }

    /// Descriptors are not kept waiting: where there is no room, the answer is no.
    pub(super) fn reply_with_fd(&mut self, id: u64, fd: OwnedFd) {
        let reply = Reply::PidfdIs(fd);
        let datagram = reply.encode(id);
        let fds: Vec<_> = reply.fd().into_iter().collect();
        let sent = if self.outbox.is_empty() {
            fdpass::send(self.control(), &[IoSlice::new(&datagram)], &fds, false)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        };
        if sent.is_err() {
            self.reply(id, &Reply::Done(libc::EAGAIN));
        }
    }
}
