//! Replies: sent if there is room, kept in their order if there is none.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use super::Template;
use crate::sys::fdpass;
use crate::wire::Reply;

impl Template {
    pub(super) fn reply(&mut self, id: u64, reply: &Reply) {
        let datagram = reply.encode(id);
        if self.outbox.is_empty() && !self.would_block(&datagram) {
            return;
        }
        self.outbox.push_back(datagram);
    }

    /// Sends a reply, or says that there is no room for it. A parent that is gone is
    /// found out by `receive`.
    fn would_block(&self, datagram: &[u8]) -> bool {
        let sent = fdpass::send(self.control(), &[IoSlice::new(datagram)], &[], false);
        matches!(sent, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends what the socket takes. The order of replies is kept.
    pub(super) fn deliver(&mut self) {
        while let Some(datagram) = self.outbox.front() {
            if self.would_block(datagram) {
                return;
            }
            self.outbox.pop_front();
        }
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
