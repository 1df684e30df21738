//! Frames as they are made: encoded into a buffer that is used again, and with what does not
//! fit into one.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::super::codec::{CodecError, Sink};
use super::super::fd;
use super::{HEADER, Head, Kind, MAX_BODY};
use crate::sys::fdpass::MAX_FDS;

/// The bytes of a larger frame are shared by copies of it.
const SHARED_FROM: usize = 16 * 1024;

thread_local! {
    /// What frames are encoded into. A small frame is copied into a batch, and then the
    /// buffer comes back.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The buffer, or a new one while the thread's variables are being destroyed: one of them
/// may hold a worker.
#[inline]
fn take_scratch() -> Vec<u8> {
    SCRATCH.try_with(Cell::take).unwrap_or_default()
}

/// A buffer that is not needed any more.
pub(in super::super) fn give_scratch(mut buffer: Vec<u8>) {
    buffer.clear();
    let _ = SCRATCH.try_with(|scratch| scratch.set(buffer));
}

/// A frame to be sent.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Header, and the body but for what is shared.
    pub(in super::super) bytes: Vec<u8>,
    /// What most frames do not have.
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    /// Each stands before the byte of this number.
    shared: Vec<(usize, Bytes)>,
    fds: Vec<Arc<OwnedFd>>,
}

/// Why there is no frame.
#[derive(Clone, Debug)]
pub(crate) enum NoFrame {
    Codec(CodecError),
    TooLarge { size: u64, max: u32 },
}

impl Frame {
    fn new(bytes: Vec<u8>, shared: Vec<(usize, Bytes)>, fds: Vec<Arc<OwnedFd>>) -> Frame {
        let plain = shared.is_empty() && fds.is_empty();
        Frame { bytes, more: (!plain).then(|| Box::new(More { shared, fds })) }
    }

    /// Encodes a frame, into this thread's scratch buffer; see [`give_scratch`].
    pub(crate) fn encode(
        kind: Kind,
        call: u32,
        max: u32,
        encode: impl FnOnce(&mut Sink) -> Result<(), CodecError>,
    ) -> Result<Frame, NoFrame> {
        let mut sink = Sink { bytes: take_scratch(), shared: Vec::new() };
        sink.bytes.clear();
        sink.bytes.extend_from_slice(&[0; HEADER]);
        let (encoded, fds) = fd::collect(|| encode(&mut sink));
        encoded.map_err(NoFrame::Codec)?;
        let mut frame = Frame { bytes: sink.bytes, more: None };
        if !sink.shared.is_empty() || !fds.is_empty() {
            frame.more = Some(Box::new(More { shared: sink.shared, fds }));
        }
        let size = frame.len() - HEADER;
        if size > max as usize {
            return Err(NoFrame::TooLarge { size: size as u64, max });
        }
        let fds = last_of(frame.fds().len());
        frame.put_head(Head { length: size as u32, call, kind, fds });
        Ok(frame)
    }

    /// The frame that brings a ring.
    pub(in super::super) fn ring(file: OwnedFd) -> Frame {
        // One byte goes with the descriptor, and the header is that.
        Frame::of_fds(Kind::Ring, vec![Arc::new(file)])
    }

    /// One with descriptors, and no more of them than one message has, and nothing else.
    fn of_fds(kind: Kind, fds: Vec<Arc<OwnedFd>>) -> Frame {
        let head = Head { length: 0, call: 0, kind, fds: fds.len() as u32 };
        let mut frame = Frame::new(vec![0; HEADER], Vec::new(), fds);
        frame.put_head(head);
        frame
    }

    #[inline]
    fn put_head(&mut self, head: Head) {
        let place = self.bytes.first_chunk_mut().expect("room was left for it");
        head.write(place);
    }

    /// A frame of the protocol's own.
    pub(in super::super) fn plain(kind: Kind, call: u32, body: &impl Serialize) -> Frame {
        let encode = |sink: &mut Sink| {
            let bytes = std::mem::take(&mut sink.bytes);
            sink.bytes = postcard::to_extend(body, bytes).map_err(CodecError::new)?;
            Ok(())
        };
        Frame::encode(kind, call, MAX_BODY, encode)
            .expect("strings and numbers can be written, and are not 4 GiB")
    }

    /// Descriptors that go ahead of their frame, taken out of it.
    pub(in super::super) fn ahead(&mut self) -> impl Iterator<Item = Frame> + use<> {
        let mut ahead = Vec::new();
        if let Some(more) = &mut self.more {
            let last = more.fds.len() - last_of(more.fds.len()) as usize;
            let with_it = more.fds.split_off(last);
            ahead = std::mem::replace(&mut more.fds, with_it);
        }
        let mut ahead = ahead.into_iter();
        std::iter::from_fn(move || {
            let fds: Vec<_> = ahead.by_ref().take(MAX_FDS).collect();
            (!fds.is_empty()).then(|| Frame::of_fds(Kind::Fds, fds))
        })
    }

    /// Another one with the same content; large ones share it.
    pub(crate) fn again(&mut self) -> Frame {
        if self.bytes.len() > SHARED_FROM && self.shared().is_empty() {
            let mut whole = Bytes::from(std::mem::take(&mut self.bytes));
            let body = whole.split_off(HEADER);
            self.bytes = whole.to_vec();
            self.more.get_or_insert_default().shared.push((HEADER, body));
        }
        let mut bytes = take_scratch();
        bytes.clear();
        bytes.extend_from_slice(&self.bytes);
        Frame::new(bytes, self.shared().to_vec(), self.fds().to_vec())
    }

    /// Gives the scratch buffer back that it was encoded into, if it is small.
    pub(crate) fn settled(mut self) -> Frame {
        if self.bytes.len() <= SHARED_FROM {
            let bytes = self.bytes.as_slice().to_vec();
            give_scratch(std::mem::replace(&mut self.bytes, bytes));
        }
        self
    }

    #[inline]
    pub(in super::super) fn shared(&self) -> &[(usize, Bytes)] {
        self.more.as_ref().map_or(&[], |more| &more.shared)
    }

    #[inline]
    pub(in super::super) fn fds(&self) -> &[Arc<OwnedFd>] {
        self.more.as_ref().map_or(&[], |more| &more.fds)
    }

    /// Lets the descriptors go: they have been sent.
    pub(in super::super) fn drop_fds(&mut self) {
        if let Some(more) = &mut self.more {
            more.fds = Vec::new();
        }
    }

    pub(crate) fn has_fds(&self) -> bool {
        !self.fds().is_empty()
    }

    pub(in super::super) fn head(&self) -> Option<Head> {
        Head::parse(self.bytes.first_chunk()?).ok()
    }

    #[inline]
    pub(in super::super) fn set_call(&mut self, call: u32) {
        self.bytes[4..8].copy_from_slice(&call.to_le_bytes());
    }

    /// Small ones can be batched.
    #[inline]
    pub(in super::super) fn is_plain(&self) -> bool {
        self.more.is_none()
    }

    #[inline]
    pub(in super::super) fn len(&self) -> usize {
        let shared = |more: &More| more.shared.iter().map(|(_, b)| b.len()).sum();
        self.bytes.len() + self.more.as_deref().map_or(0, shared)
    }
}

/// Of so many descriptors, those that come with the frame itself.
fn last_of(fds: usize) -> u32 {
    (fds - fds.saturating_sub(1) / MAX_FDS * MAX_FDS) as u32
}
