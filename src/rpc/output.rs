//! A worker's side of the way back: replies and events, in the order in which they are
//! made, from whichever thread.

use std::fmt;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::codec::{CodecError, Sink};
use super::frame::{Failed, Frame, Kind, NoFrame, give_scratch};
use super::outbox::Outbox;
use super::refusal::Refusal;
use crate::sys::fdpass;
use crate::sys::ring::Ring;

#[cfg(feature = "tokio")]
mod queued;

/// Where senders do not wait for room: bytes that are queued before they do.
const QUEUED_AT_MOST: usize = 1 << 20;

pub(super) struct Output {
    pub(super) socket: UnixStream,
    max: u32,
    pending: Mutex<Pending>,
    /// Set where senders do not wait for room: called when something is queued.
    queued: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Debug, Default)]
struct Pending {
    outbox: Outbox,
    ring: Option<Ring>,
    /// Bytes that were given to the stream.
    position: u64,
    /// Nobody listens any more.
    dead: bool,
}

impl Output {
    pub(super) fn new(socket: UnixStream, max: u32) -> Output {
        Output { socket, max, pending: Mutex::default(), queued: OnceLock::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Encodes and sends a frame. What cannot be encoded is told to the parent instead.
    ///
    /// It waits while the parent is slow in reading: never more than one frame is in this
    /// process's own memory.
    pub(super) fn send(
        &self,
        kind: Kind,
        call: u32,
        encode: impl FnOnce(&mut Sink) -> Result<(), CodecError>,
    ) {
        // Without the lock: that is the user's code.
        let frame = match Frame::encode(kind, call, self.max, encode) {
            Ok(frame) => frame,
            Err(NoFrame::Codec(why)) => failed(call, &Failed::Codec(why.to_string())),
            Err(NoFrame::TooLarge { size, max }) => failed(call, &Failed::TooLarge { size, max }),
        };
        self.push(frame);
    }

    pub(super) fn fail(&self, call: u32, why: &Failed) {
        self.push(failed(call, why));
    }

    pub(super) fn push(&self, frame: Frame) {
        let mut pending = self.lock();
        if pending.dead {
            return;
        }
        let spare = self.pass(&mut pending, frame);
        drop(pending);
        give_scratch(spare);
    }

    /// Passes a frame on, by the ring or the stream; what is left of it.
    fn pass(&self, pending: &mut Pending, frame: Frame) -> Vec<u8> {
        let Pending { ring, position, outbox, .. } = pending;
        let mut bell = false;
        // What is queued for the stream comes before.
        if let Some(ring) = ring.as_ref().filter(|_| outbox.is_empty()) {
            // For one who sleeps, the frame itself is what wakes.
            let through =
                frame.is_plain() && !ring.is_asleep() && ring.push(*position, &frame.bytes);
            bell = ring.must_wake() && through;
            if through && !bell {
                return frame.bytes;
            }
        }
        let frame = if bell { Frame::plain(Kind::Bell, 0, &()) } else { frame };
        let all = self.queued.get().is_none();
        if pending.outbox.can_pass(&frame) {
            pending.outbox.pass();
            let written = fdpass::send_bytes(&self.socket, &frame.bytes, all).unwrap_or(0);
            pending.position += written as u64;
            if written == frame.bytes.len() {
                return frame.bytes;
            }
            // Whatever the matter is, it is found again.
            pending.outbox.put_back_passed(frame, written);
            return self.write(pending, all);
        }
        let (_, spare) = pending.outbox.push(frame);
        self.write(pending, all);
        spare
    }

    /// From now on small frames may go through memory.
    pub(super) fn use_ring(&self, ring: Ring) {
        self.lock().ring = Some(ring);
    }

    /// Sends what has been made. Whether anybody still listens.
    pub(super) fn flush(&self) -> bool {
        let mut pending = self.lock();
        if !pending.outbox.is_empty() {
            self.write(&mut pending, true);
        }
        !pending.dead
    }

    /// Nothing more is said. What the parent has not read yet stays for it to read.
    pub(super) fn end(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Without `all`, as much as has to be written, and as there is room for. The result is
    /// what is left to be used again.
    fn write(&self, pending: &mut Pending, all: bool) -> Vec<u8> {
        let mut refusal = Refusal::default();
        let mut spare = Vec::new();
        while let Some(mut chunk) = pending.outbox.take() {
            let wait = all || pending.outbox.bytes() >= QUEUED_AT_MOST;
            let (before, fds) = (chunk.written(), chunk.fds());
            let done = chunk.write(&self.socket, wait);
            pending.position += (chunk.written() - before) as u64;
            match done {
                Ok(whole) => {
                    spare = pending.outbox.put_back(chunk);
                    refusal = Refusal::default();
                    if !whole {
                        self.queued.get().inspect(|tell| tell());
                        break;
                    }
                }
                Err(error) if Refusal::is(&error) || Refusal::is_shortage(&error) => {
                    pending.outbox.put_back(chunk);
                    // There is no event that says when they would be taken.
                    match refusal.pause(&self.socket) {
                        Some(pause) => std::thread::sleep(pause),
                        None if Refusal::is_shortage(&error) => {
                            self.die(pending);
                            break;
                        }
                        None => {
                            refusal = Refusal::default();
                            give_up(&mut pending.outbox, &Failed::FdsRefused);
                        }
                    }
                }
                Err(error) if fds > 0 && Refusal::is_for_ever(&error) => {
                    pending.outbox.put_back(chunk);
                    let why = format!("a descriptor in it cannot be passed: {error}");
                    give_up(&mut pending.outbox, &Failed::Codec(why));
                }
                Err(_) => {
                    self.die(pending);
                    break;
                }
            }
        }
        spare
    }

    /// What cannot be said is not made either: the parent learns that nothing more comes, and
    /// whoever reads calls here, that none do.
    fn die(&self, pending: &mut Pending) {
        pending.dead = true;
        pending.outbox.clear();
        self.end();
    }
}

/// Tells the parent that there is a frame whose descriptors cannot be sent.
fn give_up(outbox: &mut Outbox, why: &Failed) {
    if let Some(head) = outbox.refused() {
        outbox.replace_refused(failed(head.call, why));
    }
}

fn failed(call: u32, why: &Failed) -> Frame {
    Frame::plain(Kind::Failed, call, &why.cut())
}

impl fmt::Display for NoFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoFrame::Codec(why) => why.fmt(f),
            NoFrame::TooLarge { size, max } => write!(f, "{size} bytes are more than {max}"),
        }
    }
}
