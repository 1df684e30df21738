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
//! | Finish | parent | – | –: no more calls, but maybe a Cancel |
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
//! process ends. The parent says that it is done by Finish; the end of the stream says so too.
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

use serde::{Deserialize, Serialize};

use super::logs::Strength;

mod outgoing;

pub(super) use outgoing::give_scratch;
pub(crate) use outgoing::{Frame, NoFrame};

pub(super) const HEADER: usize = 12;
/// The largest body: 4 GiB - 1.
pub(crate) const MAX_BODY: u32 = u32::MAX;
/// The largest body of the protocol's own frames, whatever the limit of results is.
pub(super) const MAX_OWN_BODY: u32 = 4 << 20;
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
    #[inline]
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Result<Head, Malformed> {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let kind = Kind::parse(bytes[8]).ok_or(Malformed("a frame of no known kind"))?;
        Ok(Head { length: word(0), call: word(4), kind, fds: word(8) >> 8 })
    }

    /// The length that a header gives.
    #[inline]
    pub(super) fn length_of(bytes: &[u8; HEADER]) -> u32 {
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[inline]
    pub(super) fn write(self, to: &mut [u8; HEADER]) {
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
