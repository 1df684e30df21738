//! Frames on their way out: small ones batched, large ones and those with descriptors by
//! themselves.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use super::frame::{Frame, HEADER, Head, Kind};
use crate::sys::fdpass;

/// A frame of up to this many bytes is batched with others.
const SMALL: usize = 16 * 1024;
/// A batch that is as large takes no more.
pub(super) const BATCH: usize = 64 * 1024;
/// Parts of a frame that are written with one call.
const PARTS: usize = 64;

/// Where a queued frame is, for as long as it is not being sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    chunk: u64,
    at: usize,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Chunk>,
    /// Number of the first chunk in the queue.
    first: u64,
    bytes: usize,
    spare: Vec<u8>,
}

/// Something that is written before anything else is.
#[derive(Debug)]
pub(super) struct Chunk {
    what: What,
    written: usize,
}

#[derive(Debug)]
enum What {
    Batch(Vec<u8>),
    /// `ahead`: so many others before it have descriptors of this one.
    Single {
        frame: Frame,
        ahead: usize,
    },
}

impl Outbox {
    /// Bytes that are queued.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues a frame; `spare` is what is left of it to be used again.
    pub(super) fn push(&mut self, mut frame: Frame) -> (Place, Vec<u8>) {
        let length = frame.len();
        if !frame.is_plain() || length > SMALL {
            let ahead = frame.ahead().map(|f| self.single(f, 0)).count();
            self.single(frame, ahead);
            return (self.last(0), Vec::new());
        }
        self.bytes += length;
        match self.queue.back_mut() {
            Some(Chunk { what: What::Batch(batch), written: 0 })
                if batch.len() + length <= BATCH =>
            {
                let at = batch.len();
                batch.extend_from_slice(&frame.bytes);
                return (self.last(at), frame.bytes);
            }
            _ => {}
        }
        let mut batch = std::mem::take(&mut self.spare);
        batch.extend_from_slice(&frame.bytes);
        self.queue.push_back(Chunk { what: What::Batch(batch), written: 0 });
        (self.last(0), frame.bytes)
    }

    /// Whether a frame need not be queued: it is small, and nothing is before it.
    pub(super) fn can_pass(&self, frame: &Frame) -> bool {
        self.queue.is_empty() && frame.is_plain() && frame.bytes.len() <= SMALL
    }

    /// Lets such a frame pass as if it had been queued and taken; nobody else may write
    /// until it has been written, or [put back](Outbox::put_back_passed).
    pub(super) fn pass(&mut self) -> Place {
        let place = Place { chunk: self.first, at: 0 };
        self.first += 1;
        place
    }

    /// Not all of it could be written.
    pub(super) fn put_back_passed(&mut self, frame: Frame, written: usize) {
        self.put_back(Chunk { what: What::Batch(frame.bytes), written });
    }

    fn single(&mut self, frame: Frame, ahead: usize) {
        self.bytes += frame.len();
        self.queue.push_back(Chunk { what: What::Single { frame, ahead }, written: 0 });
    }

    fn last(&self, at: usize) -> Place {
        Place { chunk: self.first + self.queue.len() as u64 - 1, at }
    }

    /// Takes a call out again, if nothing of it has been sent; whether it was there.
    pub(super) fn take_out(&mut self, place: Place) -> bool {
        let Some(index) = place.chunk.checked_sub(self.first) else { return false };
        let Some(chunk) = self.queue.get_mut(index as usize) else { return false };
        if chunk.written > place.at {
            return false;
        }
        match &mut chunk.what {
            What::Batch(batch) => batch[place.at + 8] = Kind::Void as u8,
            What::Single { .. } => return self.take_out_single(index as usize, Vec::new()),
        }
        true
    }

    /// Puts `instead` in the place of a frame that is not batched, if nothing of it has
    /// been sent; at least a Void, if its descriptors have been.
    fn take_out_single(&mut self, index: usize, mut instead: Vec<u8>) -> bool {
        let Some(Chunk { what: What::Single { ahead, .. }, written: 0 }) = self.queue.get(index)
        else {
            return false;
        };
        let (ahead, unsent) = (*ahead, index.min(*ahead));
        if instead.is_empty() && unsent < ahead {
            let mut head = [0; HEADER];
            Head { length: 0, call: 0, kind: Kind::Void, fds: 0 }.write(&mut head);
            instead.extend_from_slice(&head);
        }
        self.bytes += instead.len();
        // The places remain, so that the others keep theirs.
        for chunk in self.queue.range_mut(index - unsent..=index) {
            self.bytes -= chunk.left();
            chunk.what = What::Batch(Vec::new());
        }
        self.queue[index].what = What::Batch(instead);
        true
    }

    /// The next frame that is to be sent, by its own header: not one that only has
    /// descriptors of it.
    fn next_single(&self) -> Option<(usize, Head)> {
        let heads = self.queue.iter().map_while(|chunk| match &chunk.what {
            What::Single { frame, .. } => frame.head(),
            What::Batch(_) => None,
        });
        heads.enumerate().find(|(_, head)| head.kind != Kind::Fds)
    }

    /// Whose descriptors have been refused, when what was put back last was.
    pub(super) fn refused(&self) -> Option<Head> {
        self.next_single().map(|(_, head)| head)
    }

    /// Sends another frame in place of the one whose descriptors have been refused.
    pub(super) fn replace_refused(&mut self, instead: Frame) {
        self.put_in_place(instead.bytes);
    }

    /// Does without the one whose descriptors have been refused.
    pub(super) fn drop_refused(&mut self) {
        self.put_in_place(Vec::new());
    }

    fn put_in_place(&mut self, instead: Vec<u8>) {
        if let Some((index, _)) = self.next_single() {
            self.take_out_single(index, instead);
        }
    }

    /// Whether a frame is here still, as far as that is known.
    pub(super) fn holds(&self, place: Place) -> bool {
        let index = place.chunk.checked_sub(self.first);
        let chunk = index.and_then(|index| self.queue.get(index as usize));
        chunk.is_some_and(|chunk| match chunk.what {
            What::Batch(_) => chunk.written <= place.at,
            What::Single { .. } => true,
        })
    }

    /// Takes what is to be written next; nobody else may write until it is put back.
    pub(super) fn take(&mut self) -> Option<Chunk> {
        let chunk = self.queue.pop_front()?;
        self.first += 1;
        self.bytes -= chunk.left();
        Some(chunk)
    }

    /// What could be written of it has been. The result is what is left of it to be used
    /// again.
    pub(super) fn put_back(&mut self, chunk: Chunk) -> Vec<u8> {
        if chunk.left() > 0 {
            self.bytes += chunk.left();
            self.first -= 1;
            self.queue.push_front(chunk);
            return Vec::new();
        }
        let What::Batch(mut batch) = chunk.what else { return Vec::new() };
        if self.spare.capacity() < batch.capacity() {
            batch.clear();
            std::mem::swap(&mut self.spare, &mut batch);
        }
        batch
    }

    pub(super) fn clear(&mut self) {
        self.first += self.queue.len() as u64;
        self.queue.clear();
        self.bytes = 0;
    }
}

impl Chunk {
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Descriptors that are to be sent with it.
    pub(super) fn fds(&self) -> usize {
        match &self.what {
            What::Batch(_) => 0,
            What::Single { frame, .. } => frame.fds().len(),
        }
    }

    fn left(&self) -> usize {
        let length = match &self.what {
            What::Batch(batch) => batch.len(),
            What::Single { frame, .. } => frame.len(),
        };
        length - self.written
    }

    /// Writes all of it, or as much as there is room for (`false`) unless it may `wait`.
    pub(super) fn write(&mut self, socket: impl AsFd, wait: bool) -> io::Result<bool> {
        while self.left() > 0 {
            let sent = match &mut self.what {
                What::Batch(batch) => fdpass::send_bytes(&socket, &batch[self.written..], wait),
                What::Single { frame, .. } => write_single(frame, self.written, &socket, wait),
            };
            match sent {
                Ok(count) => self.written += count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

/// Descriptors go with the first byte, and are not held for longer than that takes.
fn write_single(
    frame: &mut Frame,
    written: usize,
    socket: &impl AsFd,
    wait: bool,
) -> io::Result<usize> {
    let parts = parts(frame, written, PARTS);
    let slices: Vec<_> = parts.iter().map(|p| IoSlice::new(p)).collect();
    let fds: Vec<BorrowedFd<'_>> = frame.fds().iter().map(|fd| fd.as_fd()).collect();
    let sent = fdpass::send_some(socket, &slices, &fds, wait)?;
    frame.drop_fds();
    Ok(sent)
}

/// The parts of a frame behind the first `written` bytes of it.
fn parts(frame: &Frame, written: usize, most: usize) -> Vec<&[u8]> {
    let mut all = Vec::with_capacity(2 * frame.shared().len() + 1);
    let mut at = 0;
    for (place, shared) in frame.shared() {
        all.push(&frame.bytes[at..*place]);
        all.push(shared);
        at = *place;
    }
    all.push(&frame.bytes[at..]);
    let mut skip = written;
    let mut rest = Vec::with_capacity(all.len().min(most));
    for part in all {
        let skipped = skip.min(part.len());
        skip -= skipped;
        if skipped < part.len() && rest.len() < most {
            rest.push(&part[skipped..]);
        }
    }
    rest
}
