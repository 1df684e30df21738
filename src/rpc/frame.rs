//! The RPC protocol on the stream: what a frame is, and all kinds of them.
//!
//! ```text
//! length of the body: u32 │ call: u32 │ kind: u8 │ descriptors: u24 │ body      (little-endian)
//! ```
//! | kind | from | call | body |
//! |---|---|---|---|
//! | Hello | parent | – | [`Hello`], by postcard; the first frame |
//! | Call | parent | its number | arguments, by the codec |
//! | Cancel | parent | number of an earlier call | – |
//! | Finish | parent | – | – (to an asynchronous worker: no more calls, but maybe a Cancel) |
//! | Void | parent | – | what was a call, taken out before it was sent |
//! | Reply | worker | number | result, by the codec |
//! | Failed | worker | number, or 0 for an event | [`Failed`], by postcard |
//! | Event | worker | 0 | event, by the codec |
//! | InitFailed | worker | 0 | [`Failed`], by postcard |
//! | Ring | parent | 0 | one descriptor: memory through which small frames may come back |
//! | Bell | worker | 0 | –: there is something in the ring, for a parent that sleeps |
//! | Log | worker | 0 | a record of `logs.rs`, by postcard |
//! | Ready | worker | 0 | –: its init function has returned, for a parent that asked |
//! | Retire | worker | 0 | –: it wants no more calls |
//! | Fds | either | – | none: its descriptors are for the frame that follows |
//!
//! Each call is answered by exactly one Reply or Failed, cancelled ones too, unless the
//! process ends. The parent says that it is done by shutting its side down, or by Finish.
//!
//! Small frames without descriptors may come back through shared memory (`sys/ring.rs`),
//! each with the number of bytes of the stream that come before it: with many calls on
//! their way, one write for each reply would be most of the work, and holding replies
//! back for others would delay them.
//!
//! A frame with descriptors goes out by a message of its own, with at most 253 of them:
//! so whoever receives it knows by order alone which descriptors are whose, whatever is
//! batched around it. Those of one that has more go ahead of it, each 253 with a frame of
//! kind Fds; so the sender can still change its mind, and send Void, or Failed, instead.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{CodecError, Sink};
use super::fd;
use super::logs::Strength;
use crate::sys::fdpass::MAX_FDS;

pub(super) const HEADER: usize = 12;
/// The largest body: 4 GiB - 1.
pub(crate) const MAX_BODY: u32 = u32::MAX;
/// The largest body of the protocol's own frames, whatever the limit of results is.
pub(super) const MAX_OWN_BODY: u32 = 4 << 20;
/// The bytes of a larger frame are shared by copies of it.
const SHARED_FROM: usize = 16 * 1024;
/// A message of a failure is cut behind so many bytes; there are two at most.
const MAX_MESSAGE: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Hello = 1,
    Call = 2,
    Cancel = 3,
    Void = 4,
    Reply = 5,
    Failed = 6,
    Event = 7,
    InitFailed = 8,
    Log = 9,
    Ring = 10,
    Bell = 11,
    Fds = 12,
    Finish = 13,
    Ready = 14,
    Retire = 15,
}

impl Kind {
    /// By number, from 1 on.
    const ALL: [Kind; 15] = {
        use Kind::*;
        [
            Hello, Call, Cancel, Void, Reply, Failed, Event, InitFailed, Log, Ring, Bell, Fds,
            Finish, Ready, Retire,
        ]
    };

    fn parse(byte: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(byte).wrapping_sub(1)).copied()
    }
}

const _: () = {
    let mut at = 0;
    while at < Kind::ALL.len() {
        assert!(Kind::ALL[at] as usize == at + 1, "each in its place");
        at += 1;
    }
};

/// What a worker is told at its start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Place of the codec in the worker's list.
    pub(super) codec: u8,
    pub(super) keep_after_panic: bool,
    pub(super) forward_logs: Option<Strength>,
    pub(super) max_concurrent: u32,
    pub(super) max_reply: u32,
    pub(super) spin: bool,
    /// The parent wants to know when the init function has returned, and takes wishes to
    /// be retired.
    pub(super) pooled: bool,
    /// Init arguments, by postcard.
    pub(super) given: Vec<u8>,
}

/// Why there is no result, in the worker's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failed {
    Panic {
        message: String,
        location: String,
    },
    Codec(String),
    TooLarge {
        size: u64,
        max: u32,
    },
    /// `Done` was dropped.
    Unanswered,
    Cancelled,
    /// The worker had no room for the descriptors of the call.
    NoRoomForFds,
    /// The system did not take the descriptors of the result or event.
    FdsRefused,
    /// An init function's error.
    Init(String),
}

impl Failed {
    /// With messages that are not too long to be sent.
    pub(super) fn cut(&self) -> Failed {
        let cut = |text: &String| text[..text.floor_char_boundary(MAX_MESSAGE)].to_owned();
        match self {
            Failed::Panic { message, location } => {
                Failed::Panic { message: cut(message), location: cut(location) }
            }
            Failed::Codec(why) => Failed::Codec(cut(why)),
            Failed::Init(why) => Failed::Init(cut(why)),
            other => other.clone(),
        }
    }
}

/// The start of a frame, as received: nothing in it is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: u32,
    pub(super) call: u32,
    pub(super) kind: Kind,
    pub(super) fds: u32,
}

/// What arrived is not in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Head {
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Result<Head, Malformed> {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let kind = Kind::parse(bytes[8]).ok_or(Malformed("a frame of no known kind"))?;
        Ok(Head { length: word(0), call: word(4), kind, fds: word(8) >> 8 })
    }

    pub(super) fn write(self, to: &mut [u8]) {
        to[0..4].copy_from_slice(&self.length.to_le_bytes());
        to[4..8].copy_from_slice(&self.call.to_le_bytes());
        to[8..12].copy_from_slice(&(self.kind as u32 | self.fds << 8).to_le_bytes());
    }

    /// Bytes of the whole frame.
    pub(super) fn frame_len(self) -> u64 {
        HEADER as u64 + u64::from(self.length)
    }

    /// Whether the body is the user's, and not the protocol's own.
    pub(super) fn is_users(self) -> bool {
        matches!(self.kind, Kind::Call | Kind::Reply | Kind::Event)
    }
}

thread_local! {
    /// What frames are encoded into. A small frame is copied into a batch, and then the
    /// buffer comes back.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that is not needed any more.
pub(super) fn give_scratch(mut buffer: Vec<u8>) {
    buffer.clear();
    // Not while the thread's variables are being destroyed.
    let _ = SCRATCH.try_with(|scratch| scratch.set(buffer));
}

/// A frame to be sent.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Header, and the body but for what is shared.
    pub(super) bytes: Vec<u8>,
    pub(super) shared: Vec<(usize, Bytes)>,
    pub(super) fds: Vec<Arc<OwnedFd>>,
}

/// Why there is no frame.
#[derive(Clone, Debug)]
pub(crate) enum NoFrame {
    Codec(CodecError),
    TooLarge { size: u64, max: u32 },
}

impl Frame {
    /// Encodes a frame, into this thread's scratch buffer; see [`give_scratch`].
    pub(crate) fn encode(
        kind: Kind,
        call: u32,
        max: u32,
        encode: impl FnOnce(&mut Sink) -> Result<(), CodecError>,
    ) -> Result<Frame, NoFrame> {
        let mut sink = Sink { bytes: SCRATCH.take(), shared: Vec::new() };
        sink.bytes.resize(HEADER, 0);
        let (encoded, fds) = fd::collect(|| encode(&mut sink));
        encoded.map_err(NoFrame::Codec)?;
        let Sink { bytes, shared } = sink;
        let size = bytes.len() + shared.iter().map(|(_, b)| b.len()).sum::<usize>() - HEADER;
        let length = u32::try_from(size).ok().filter(|l| *l <= max);
        let length = length.ok_or(NoFrame::TooLarge { size: size as u64, max })?;
        let mut frame = Frame { bytes, shared, fds };
        let head = Head { length, call, kind, fds: last_of(frame.fds.len()) };
        head.write(&mut frame.bytes);
        Ok(frame)
    }

    /// The frame that brings a ring.
    pub(super) fn ring(file: OwnedFd) -> Frame {
        let mut frame = Frame::plain(Kind::Ring, 0, &());
        // One byte goes with the descriptor, and the header is that.
        Head { length: 0, call: 0, kind: Kind::Ring, fds: 1 }.write(&mut frame.bytes);
        frame.fds.push(Arc::new(file));
        frame
    }

    /// A frame of the protocol's own.
    pub(super) fn plain(kind: Kind, call: u32, body: &impl Serialize) -> Frame {
        let encode = |sink: &mut Sink| {
            let bytes = std::mem::take(&mut sink.bytes);
            sink.bytes = postcard::to_extend(body, bytes).map_err(CodecError::new)?;
            Ok(())
        };
        Frame::encode(kind, call, MAX_BODY, encode)
            .expect("strings and numbers can be written, and are not 4 GiB")
    }

    /// Descriptors that go ahead of their frame, taken out of it.
    pub(super) fn ahead(&mut self) -> impl Iterator<Item = Frame> + use<> {
        let last = self.fds.len() - last_of(self.fds.len()) as usize;
        let fds = self.fds.split_off(last);
        let mut ahead = std::mem::replace(&mut self.fds, fds).into_iter();
        std::iter::from_fn(move || {
            let fds: Vec<_> = ahead.by_ref().take(MAX_FDS).collect();
            let mut bytes = vec![0; HEADER];
            Head { length: 0, call: 0, kind: Kind::Fds, fds: fds.len() as u32 }.write(&mut bytes);
            (!fds.is_empty()).then_some(Frame { bytes, shared: Vec::new(), fds })
        })
    }

    /// Another one with the same content; large ones share it.
    pub(crate) fn again(&mut self) -> Frame {
        if self.bytes.len() > SHARED_FROM && self.shared.is_empty() {
            let mut whole = Bytes::from(std::mem::take(&mut self.bytes));
            let body = whole.split_off(HEADER);
            self.bytes = whole.to_vec();
            self.shared.push((HEADER, body));
        }
        let mut bytes = SCRATCH.take();
        bytes.clear();
        bytes.extend_from_slice(&self.bytes);
        Frame { bytes, shared: self.shared.clone(), fds: self.fds.clone() }
    }

    /// Gives the scratch buffer back that it was encoded into, if it is small.
    pub(crate) fn settled(mut self) -> Frame {
        if self.bytes.len() <= SHARED_FROM {
            let bytes = self.bytes.as_slice().to_vec();
            give_scratch(std::mem::replace(&mut self.bytes, bytes));
        }
        self
    }

    pub(crate) fn has_fds(&self) -> bool {
        !self.fds.is_empty()
    }

    pub(super) fn head(&self) -> Option<Head> {
        Head::parse(self.bytes.first_chunk()?).ok()
    }

    pub(super) fn set_call(&mut self, call: u32) {
        self.bytes[4..8].copy_from_slice(&call.to_le_bytes());
    }

    /// Small ones can be batched.
    pub(super) fn is_plain(&self) -> bool {
        self.shared.is_empty() && self.fds.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.shared.iter().map(|(_, b)| b.len()).sum::<usize>()
    }
}

/// Of so many descriptors, those that come with the frame itself.
fn last_of(fds: usize) -> u32 {
    (fds - fds.saturating_sub(1) / MAX_FDS * MAX_FDS) as u32
}
