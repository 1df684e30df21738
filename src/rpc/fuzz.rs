//! The decoder of frames, fed with anything: for `fuzz/` and the tests.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::inbox::{Bad, Filled, Inbox};

/// What a decoder may hold beyond what has arrived, twice over.
const BEYOND: usize = 512 * 1024;

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Kind, call and body of each frame.
    pub(super) frames: Vec<(u8, u32, Vec<u8>)>,
    pub(super) malformed: bool,
}

/// Has `bytes` arrive in pieces of the sizes that `piece` gives, at least 1.
pub(super) fn decode(bytes: &[u8], max: u32, mut piece: impl FnMut() -> usize) -> Decoded {
    let (mut near, far) = UnixStream::pair().expect("there is room for two sockets");
    let mut inbox = Inbox::new(max);
    let mut decoded = Decoded::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        // No more than a socket takes at once.
        let (now, later) = rest.split_at(piece().clamp(1, 32 * 1024).min(rest.len()));
        rest = later;
        near.write_all(now).expect("the other end is here");
        loop {
            match inbox.fill(&far, false) {
                Ok(Filled::Some) => {}
                Ok(Filled::Nothing | Filled::End) => break,
                Err(Bad::Malformed(_)) => decoded.malformed = true,
                Err(Bad::Io(e)) => panic!("{e}"),
            }
            let arrived = bytes.len() - rest.len();
            assert!(inbox.capacity() <= 2 * arrived + BEYOND, "{} bytes held", inbox.capacity());
            inbox.scan(|_| {});
            while !decoded.malformed {
                match inbox.next() {
                    Ok(Some(frame)) => {
                        let head = frame.head;
                        decoded.frames.push((head.kind as u8, head.call, frame.body.to_vec()));
                    }
                    Ok(None) => break,
                    Err(_) => decoded.malformed = true,
                }
            }
            if decoded.malformed {
                return decoded;
            }
        }
    }
    decoded
}

/// Feeds the decoder: whatever the bytes are, in whatever pieces (of which the first two
/// bytes tell the size), it takes no memory on a claim, and does not panic.
#[doc(hidden)]
pub fn fuzz_inbox(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let size = usize::from(u16::from_le_bytes(*size));
    let whole = decode(bytes, u32::MAX, || usize::MAX);
    let pieces = decode(bytes, u32::MAX, || size);
    assert_eq!(whole, pieces, "the pieces make no difference");
    decode(bytes, 1000, || size);
}
