//! What a worker can say that is not in the protocol, written to its stream directly.

use std::os::fd::RawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, send, sendmsg};
use serde::{Deserialize, Serialize};

/// Kinds of frames, as `src/rpc/frame.rs` lists them.
pub mod kind {
    #![allow(missing_docs)]
    pub const HELLO: u8 = 1;
    pub const CALL: u8 = 2;
    pub const CANCEL: u8 = 3;
    pub const VOID: u8 = 4;
    pub const REPLY: u8 = 5;
    pub const FAILED: u8 = 6;
    pub const EVENT: u8 = 7;
    pub const INIT_FAILED: u8 = 8;
    pub const LOG: u8 = 9;
    pub const RING: u8 = 10;
    pub const BELL: u8 = 11;
    pub const FDS: u8 = 12;
}

/// A lie, and what the liar does then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Lie {
    /// None: the answer is 5.
    None,
    /// Bytes from a generator with this seed.
    Garbage(u64),
    /// A header, and nothing behind it.
    Header {
        /// Length that it claims.
        length: u32,
        /// Call that it names.
        call: u32,
        /// Kind of the frame.
        kind: u8,
        /// Descriptors that it announces.
        fds: u32,
    },
    /// A frame with a body.
    Frame(u32, u8, Vec<u8>),
    /// The right answer twice, and then a third time by returning.
    Twice,
    /// The right answer to this many calls.
    Ahead(u32),
    /// Half of an answer, then the process exits with this status.
    HalfThenExit(i32),
    /// An event, then half of an answer.
    EventThenHalf,
    /// A descriptor that is not announced, with the right answer.
    StrayFd,
    /// A descriptor with each part of a large frame that has none.
    ManyStrayFds,
    /// A thousand descriptors for the answer, which is not sent unless it says so.
    Hostages(bool),
    /// Closes the stream, and stays.
    Close,
    /// Ends with this status.
    Exit(i32),
}

/// Every lie that can be told from the first byte on: the parent answers with
/// `is_protocol`, whatever its calls are.
pub fn plain_lies() -> Vec<Lie> {
    let header = |length, call, kind, fds| Lie::Header { length, call, kind, fds };
    let mut lies: Vec<Lie> = (0..8).map(Lie::Garbage).collect();
    lies.extend([
        header(0, 1, 0, 0),
        header(0, 1, 12, 0),
        header(0, 1, 255, 0),
        header(0, 1, kind::HELLO, 0),
        header(0, 77, kind::REPLY, 0),
        header(0, 0, kind::REPLY, 0),
        header(0, u32::MAX, kind::REPLY, 0),
        header(0, u32::MAX, kind::FAILED, 0),
        // Out of order.
        header(0, 2, kind::REPLY, 0),
        header(0, 1, kind::REPLY, 1),
        header(0, 1, kind::REPLY, 0xff_ffff),
        // More than `max_reply`.
        header(200_001, 1, kind::REPLY, 0),
        header(u32::MAX, 1, kind::EVENT, 0),
        header(u32::MAX, 0, kind::FAILED, 0),
        header(u32::MAX, 0, kind::LOG, 0),
        Lie::Frame(1, kind::FAILED, vec![0xff; 20]),
        Lie::Frame(0, kind::FAILED, vec![]),
        Lie::Frame(0, kind::INIT_FAILED, vec![0xff; 20]),
        Lie::StrayFd,
        Lie::ManyStrayFds,
    ]);
    lies.extend(
        [kind::HELLO, kind::CALL, kind::CANCEL, kind::VOID, kind::RING].map(|k| header(0, 1, k, 0)),
    );
    lies
}

/// A header as it is on the wire.
pub fn header(length: u32, call: u32, kind: u8, fds: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&call.to_le_bytes());
    bytes[8..].copy_from_slice(&(u32::from(kind) | fds << 8).to_le_bytes());
    bytes
}

/// The number of this process's stream: its only socket.
fn stream() -> RawFd {
    let found = crate::open_fds()
        .into_iter()
        .find(|fd| *fd > 2 && crate::proc::target(*fd).starts_with("socket:"));
    found.expect("a worker has its stream")
}

fn say(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        // Killed for what was said already, or about to be.
        let Ok(sent) = send(stream(), rest, MsgFlags::MSG_NOSIGNAL) else { return };
        rest = &rest[sent..];
    }
}

fn say_with_fd(bytes: &[u8]) -> bool {
    say_with_fds(bytes, 1)
}

fn say_with_fds(bytes: &[u8], count: usize) -> bool {
    let parts = [std::io::IoSlice::new(bytes)];
    let rights = vec![0; count];
    let with = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(stream(), &parts, &with, MsgFlags::MSG_NOSIGNAL, None).is_ok()
}

/// A generator of bytes: the same for the same seed.
pub fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.number() as u8).collect()
}

/// Pseudo-random numbers (splitmix64).
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}

/// Waits to be killed.
pub fn stay() -> ! {
    loop {
        nix::unistd::pause();
    }
}

/// Tells a lie in a worker function, as part of its first call; what returns is 5.
pub fn tell(lie: &Lie) -> u32 {
    // The number 5, by postcard.
    let answer = || [&header(1, 1, kind::REPLY, 0)[..], &[5]].concat();
    match lie {
        Lie::None => return 5,
        Lie::Garbage(seed) => {
            // Not by chance the start of something that is allowed.
            say(&[&[0xee; 12], &bytes(*seed, 4096)[..]].concat());
            say(&bytes(*seed, 4096));
        }
        Lie::Header { length, call, kind, fds } => {
            say(&header(*length, *call, *kind, *fds));
        }
        Lie::Frame(call, kind, body) => {
            say(&[&header(body.len() as u32, *call, *kind, 0)[..], body].concat());
        }
        Lie::Twice => {
            say(&answer().repeat(2));
            return 5;
        }
        Lie::Ahead(calls) => {
            let answer = |call| [&header(1, call, kind::REPLY, 0)[..], &[5]].concat();
            say(&(1..=*calls).flat_map(answer).collect::<Vec<u8>>());
        }
        Lie::HalfThenExit(status) => {
            say(&answer()[..7]);
            std::process::exit(*status);
        }
        Lie::EventThenHalf => {
            let half = [&header(1000, 1, kind::REPLY, 0)[..], &[7; 500]].concat();
            say(&[&header(0, 0, kind::EVENT, 0)[..], &half].concat());
        }
        Lie::StrayFd => {
            say_with_fd(&answer());
        }
        Lie::ManyStrayFds => {
            say(&header(200_000, 1, kind::REPLY, 0));
            while say_with_fd(&[1]) {}
        }
        Lie::Hostages(answers) => {
            for count in [253, 253, 253, 244] {
                say_with_fds(&header(0, 0, kind::FDS, count), count as usize);
            }
            if *answers {
                say_with_fd(&[&header(1, 1, kind::REPLY, 1)[..], &[5]].concat());
            }
        }
        Lie::Close => {
            for fd in crate::open_fds().into_iter().filter(|fd| *fd > 2) {
                if crate::proc::target(fd).starts_with("socket:") {
                    nix::sys::socket::shutdown(fd, nix::sys::socket::Shutdown::Both).unwrap();
                }
            }
        }
        Lie::Exit(status) => std::process::exit(*status),
    }
    stay()
}
