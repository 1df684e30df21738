//! Replies: as a template sends them, and the parent takes them in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::step::Reader;
use super::{
    DONE, EXITED, FAILED, Failure, HEADER, MAX_TEXT, Malformed, PID_IS, PIDFD_IS, READY, STAGES,
    header, id_of,
};
use crate::sys::wait::Reaped;

/// A reply, as the parent takes it in.
#[derive(Debug)]
pub(crate) enum Reply {
    Ready,
    Failed(Failure),
    Exited(Reaped),
    PidIs(i32),
    PidfdIs(OwnedFd),
    Done(i32),
}

/// An encoded reply. All but a long text fit the array.
pub(crate) enum Encoded {
    Short([u8; SHORT], usize),
    Long(Vec<u8>),
}

const SHORT: usize = HEADER + 32;

impl Encoded {
    fn new(kind: u8, attached: usize, id: u64) -> Encoded {
        let mut bytes = [0; SHORT];
        bytes[..HEADER].copy_from_slice(&header(kind, 0, attached, 0, id));
        Encoded::Short(bytes, HEADER)
    }

    fn put(mut self, more: &[u8]) -> Encoded {
        match &mut self {
            Encoded::Short(bytes, len) if *len + more.len() <= SHORT => {
                bytes[*len..*len + more.len()].copy_from_slice(more);
                *len += more.len();
            }
            Encoded::Short(bytes, len) => {
                return Encoded::Long([&bytes[..*len], more].concat());
            }
            Encoded::Long(bytes) => bytes.extend_from_slice(more),
        }
        self
    }
}

impl std::ops::Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Encoded::Short(bytes, len) => &bytes[..*len],
            Encoded::Long(bytes) => bytes,
        }
    }
}

impl Reply {
    /// The datagram of this reply, without the descriptor of a `PidfdIs`.
    pub(crate) fn encode(&self, id: u64) -> Encoded {
        match self {
            Reply::Ready => Encoded::new(READY, 0, id),
            Reply::Failed(f) => {
                let stage = STAGES.iter().position(|s| *s == f.stage).expect("all are listed");
                let text = &f.message.as_bytes()[..f.message.floor_char_boundary(MAX_TEXT)];
                Encoded::new(FAILED, 0, id)
                    .put(&[stage as u8])
                    .put(&f.errno.to_le_bytes())
                    .put(text)
            }
            Reply::Exited(r) => Encoded::new(EXITED, 0, id)
                .put(&r.pid.to_le_bytes())
                .put(&r.status.to_le_bytes())
                .put(&r.user_us.to_le_bytes())
                .put(&r.system_us.to_le_bytes())
                .put(&r.peak_kib.to_le_bytes()),
            Reply::PidIs(pid) => Encoded::new(PID_IS, 0, id).put(&pid.to_le_bytes()),
            Reply::PidfdIs(_) => Encoded::new(PIDFD_IS, 1, id),
            Reply::Done(errno) => Encoded::new(DONE, 0, id).put(&errno.to_le_bytes()),
        }
    }

    /// The descriptor that goes with it.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Reply::PidfdIs(fd) => Some(fd.as_fd()),
            _ => None,
        }
    }

    pub(crate) fn parse(bytes: &[u8], fds: &mut Vec<OwnedFd>) -> Result<(u64, Reply), Malformed> {
        let Some((h, body)) = bytes.split_at_checked(HEADER) else {
            return Err(Malformed("shorter than a header"));
        };
        if fds.len() != usize::from(h[0] == PIDFD_IS) {
            return Err(Malformed("descriptors where none belong"));
        }
        let mut r = Reader::new(body);
        let reply = match h[0] {
            READY => Reply::Ready,
            FAILED => {
                let stage = *STAGES.get(r.u8()? as usize).ok_or(Malformed("an unknown stage"))?;
                let errno = r.u32()? as i32;
                let message = String::from_utf8_lossy(r.rest()).into_owned();
                return Ok((id_of(h), Reply::Failed(Failure { stage, errno, message })));
            }
            EXITED => Reply::Exited(Reaped {
                pid: r.u32()? as i32,
                status: r.u32()? as i32,
                user_us: r.u64()?,
                system_us: r.u64()?,
                peak_kib: r.u64()?,
            }),
            PID_IS => Reply::PidIs(r.u32()? as i32),
            PIDFD_IS => Reply::PidfdIs(fds.remove(0)),
            DONE => Reply::Done(r.u32()? as i32),
            _ => return Err(Malformed("an unknown kind of message")),
        };
        if r.is_empty() { Ok((id_of(h), reply)) } else { Err(Malformed("bytes left over")) }
    }
}
