//! Frames as they arrive: many with one read; nothing is allocated on a claim.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;

use super::codec::{Body, Held};
use super::frame::{HEADER, Head, Kind, MAX_OWN_BODY, Malformed};
use super::parcels::Parcels;
use crate::sys::fdpass;

/// Read at once, at most; a frame that is larger gets a buffer of its own.
const ROOM: usize = 64 * 1024;
/// A large body's first buffer. It grows as bytes arrive, since its length is a claim; a
/// page that nothing was written to costs nothing, but each growth may copy all.
const FIRST: usize = 256 * 1024;
const GROWTH: usize = 8;

#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// How far `bytes` have been handed out.
    at: usize,
    large: Option<(Head, Vec<u8>)>,
    parcels: Parcels,
    received: Vec<OwnedFd>,
    /// Bytes of the frames that were handed out.
    consumed: u64,
    /// How far `bytes` have been scanned for what overtakes.
    scanned: usize,
    /// The last read did not take all that was there, as far as one can know.
    cut: bool,
    /// Largest body of the user's that is taken.
    max: u32,
}

/// A frame that has arrived whole.
#[derive(Debug)]
pub(super) struct Arrived<'a> {
    pub(super) head: Head,
    pub(super) body: Body<'a>,
    pub(super) fds: Vec<OwnedFd>,
    pub(super) fds_lost: bool,
}

impl Arrived<'_> {
    /// A frame that is there in one piece, without descriptors.
    pub(super) fn whole(bytes: &[u8]) -> Result<Arrived<'_>, Malformed> {
        let (head, body) =
            bytes.split_first_chunk().ok_or(Malformed("a frame without a header"))?;
        let head = Head::parse(head)?;
        if head.length as usize != body.len() || head.fds != 0 {
            return Err(Malformed("a frame that is not as long as it says"));
        }
        Ok(Arrived { head, body: Body(Held::Borrowed(body)), fds: Vec::new(), fds_lost: false })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    Some,
    Nothing,
    End,
}

/// What can go wrong in taking frames in.
#[derive(Debug)]
pub(super) enum Bad {
    Malformed(Malformed),
    Io(io::Error),
}

impl From<Malformed> for Bad {
    fn from(why: Malformed) -> Bad {
        Bad::Malformed(why)
    }
}

impl Inbox {
    pub(super) fn new(max: u32) -> Inbox {
        Inbox {
            bytes: Vec::new(),
            at: 0,
            large: None,
            parcels: Parcels::default(),
            received: Vec::new(),
            consumed: 0,
            scanned: 0,
            cut: false,
            max,
        }
    }

    /// Of one that does not trust the other side with its own limit of descriptors.
    pub(super) fn of_parent(max: u32) -> Inbox {
        let mut inbox = Inbox::new(max);
        inbox.parcels.bound();
        inbox
    }

    /// Throws away what has arrived and was not handed out, descriptors included.
    pub(super) fn clear(&mut self) {
        let parcels = self.parcels.without_any();
        *self = Inbox { consumed: self.consumed, parcels, ..Inbox::new(self.max) };
    }

    /// The same, with what is still in a socket of which the other side can write no more.
    pub(super) fn clear_all(&mut self, socket: impl AsFd) {
        self.clear();
        while let Ok(Filled::Some) = self.fill(&socket, false) {
            self.clear();
        }
    }

    /// The header of the next frame, if that much has arrived.
    #[inline]
    fn head(&self) -> Result<Option<Head>, Malformed> {
        let Some(bytes) = self.bytes[self.at..].first_chunk::<HEADER>() else { return Ok(None) };
        let head = Head::parse(bytes)?;
        let max = if head.is_users() { self.max } else { self.max.max(MAX_OWN_BODY) };
        if head.length > max {
            return Err(Malformed("a frame that is larger than allowed"));
        }
        self.parcels.check(head)?;
        Ok(Some(head))
    }

    /// Whether a frame waits here.
    pub(super) fn has_frame(&self) -> bool {
        match &self.large {
            Some((head, body)) => body.len() == head.length as usize,
            None => match self.bytes[self.at..].first_chunk::<HEADER>() {
                None => false,
                // What is malformed is for `next` to tell.
                Some(head) => {
                    self.bytes.len() - self.at >= HEADER + Head::length_of(head) as usize
                        || self.head().is_err()
                }
            },
        }
    }

    /// Bytes that wait here, of frames whole or not.
    pub(super) fn waiting(&self) -> usize {
        self.bytes.len() - self.at + self.large.as_ref().map_or(0, |(_, body)| body.len())
    }

    /// Bytes of the frames that were handed out.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Bytes of the stream that have been received.
    pub(super) fn received(&self) -> u64 {
        // Of a large frame, the header is not among those that wait.
        let header = if self.large.is_some() { HEADER } else { 0 };
        self.consumed + (self.waiting() + header) as u64
    }

    /// Bytes of memory that are held for what arrives.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.large.as_ref().map_or(0, |(_, body)| body.capacity())
    }

    /// Whether the sender stopped in the middle of a frame.
    pub(super) fn is_within_frame(&self) -> bool {
        self.waiting() > 0 || self.large.is_some() || self.parcels.are_ahead()
    }

    /// Whether what comes behind the frames that wait here can be taken in already: no
    /// more than a few descriptors, since the frame that is being handled has to have
    /// room for its own.
    pub(super) fn can_look_ahead(&self) -> bool {
        self.large.is_none() && self.parcels.may_wait_for_more()
    }

    /// Whether the last read left something, as far as one can know.
    pub(super) fn is_read_cut(&self) -> bool {
        self.cut
    }

    /// Shows the headers that have arrived since the last time, without taking anything.
    pub(super) fn scan(&mut self, mut show: impl FnMut(Head)) {
        self.scanned = self.scanned.max(self.at);
        while let Some(bytes) =
            self.bytes.get(self.scanned..).and_then(|b| b.first_chunk::<HEADER>())
            && let Ok(head) = Head::parse(bytes)
        {
            show(head);
            self.scanned += HEADER + head.length as usize;
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Arrived<'_>>, Malformed> {
        if self.large.is_some()
            && let Some((head, body)) = self.large.take()
        {
            if body.len() < head.length as usize {
                self.parcels.of_this_one(head.fds)?;
                self.large = Some((head, body));
                return Ok(None);
            }
            let (fds, fds_lost) = self.parcels.of(head)?;
            self.consumed += head.frame_len();
            let body = Body(Held::Owned(Bytes::from(body)));
            return Ok(Some(Arrived { head, body, fds, fds_lost }));
        }
        let (head, start, end) = loop {
            let Some(head) = self.head()? else {
                self.parcels.of_this_one((self.at < self.bytes.len()).into())?;
                return Ok(None);
            };
            let (start, end) = (self.at + HEADER, self.at + HEADER + head.length as usize);
            if head.kind != Kind::Fds {
                break (head, start, end);
            }
            self.parcels.keep(head)?;
            self.at = end;
            self.consumed += head.frame_len();
        };
        if end > self.bytes.len() {
            self.parcels.of_this_one(head.fds)?;
            if HEADER + head.length as usize > ROOM {
                let body = self.bytes[start..].to_vec();
                self.bytes.clear();
                (self.at, self.scanned) = (0, 0);
                self.large = Some((head, body));
            }
            return Ok(None);
        }
        let mut parcel = (Vec::new(), false);
        if head.fds > 0 || self.parcels.are_ahead() {
            parcel = self.parcels.of(head)?;
        }
        let (fds, fds_lost) = parcel;
        self.at = end;
        self.consumed += head.frame_len();
        let body = Body(Held::Borrowed(&self.bytes[start..end]));
        Ok(Some(Arrived { head, body, fds, fds_lost }))
    }

    /// Reads what is there, once.
    pub(super) fn fill(&mut self, socket: impl AsFd, wait: bool) -> Result<Filled, Bad> {
        let (buffer, most) = match &mut self.large {
            Some((head, body)) => {
                let left = head.length as usize - body.len();
                if body.len() == body.capacity() || body.capacity() < FIRST {
                    let more = (body.len() * (GROWTH - 1)).max(FIRST).min(left);
                    body.try_reserve_exact(more)
                        .map_err(|_| Bad::Io(io::Error::from_raw_os_error(libc::ENOMEM)))?;
                }
                (body, left)
            }
            None => {
                // Not each time: what is behind may be much, when it was looked ahead.
                if self.at > 0 && self.at >= self.bytes.len() / 2 {
                    if self.at == self.bytes.len() {
                        self.bytes.clear();
                    } else {
                        self.bytes.drain(..self.at);
                    }
                    self.scanned = self.scanned.saturating_sub(self.at);
                    self.at = 0;
                }
                if self.bytes.capacity() - self.bytes.len() < ROOM / 2 {
                    self.bytes.reserve(ROOM);
                }
                (&mut self.bytes, ROOM)
            }
        };
        let room = most.min(buffer.capacity() - buffer.len());
        let received = match fdpass::receive_more(&socket, buffer, most, &mut self.received, wait) {
            Ok(Some(received)) => received,
            Ok(None) => return Ok(Filled::End),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.cut = false;
                return Ok(Filled::Nothing);
            }
            Err(e) => return Err(Bad::Io(e)),
        };
        // With descriptors, a read takes no more than one message.
        let has_fds = !self.received.is_empty() || received.fds_lost;
        self.cut = has_fds || received.len == room;
        if has_fds {
            self.parcels.arrived(std::mem::take(&mut self.received), received.fds_lost);
        }
        Ok(Filled::Some)
    }
}
