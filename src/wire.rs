//! The control protocol: the only place that knows its layout.
//!
//! One message is one SOCK_SEQPACKET datagram. Integers are little-endian (both
//! ends are the same binary on the same machine; it is for those who read a dump).
//!
//! ```text
//! byte 0   kind
//!      1   flags: 1 body is in a memory file, 2 descriptors in a parcel, 4 tell when ready
//!      2-3 descriptors attached to this datagram
//!      4-7 descriptors queued in all (Fork), or 0
//!      8-15 id: chosen by the parent, names the new process or the question
//!      16- body
//!
//! request     body                      descriptors
//! Fork        steps, then an end        socket, [memory file], [parcel], queued ones
//! Signal      u32 signal, id of the process
//! Pidfd       id of the process
//! Pid         id of the process
//! Privileged  names of entries
//! Retire
//!
//! reply       body
//! Ready                                  its steps are done (only if asked for)
//! Failed      u8 stage, i32 errno, text  no process, or it exits without its end
//! Exited      i32 pid, i32 status, u64 user us, u64 system us, u64 peak KiB
//! PidIs       i32 pid
//! PidfdIs                                one descriptor
//! Done        i32 errno                  answers Signal, Privileged, a Pid(fd) in vain
//! ```
//!
//! `Fork` carries everything that makes up a new process. Its socket is the
//! process's end of its stream (end: Run, Exec) or of its control socket (Serve).
//! What does not fit a datagram is in a sealed memory file; descriptors beyond
//! [`MAX_FDS`] wait in the queue of a *parcel*, a socket that is itself attached.
//! So a request is one datagram always: taken whole or not at all, and any number
//! of threads may send them.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::{fmt, io};

use crate::sys::fdpass::{self, MAX_FDS, Sender};
use crate::sys::wait::Reaped;

mod step;
#[cfg(test)]
mod tests;

use step::Reader;
pub(crate) use step::{Bytes, End, Next, Step, Steps};

pub(crate) const HEADER: usize = 16;
/// Largest datagram; longer bodies travel in a memory file.
pub(crate) const MAX_DATAGRAM: usize = 16 * 1024;
/// Largest body: all arguments, settings and names of one request.
pub(crate) const MAX_BODY: u64 = 8 << 30;
/// Most descriptors queued for one process.
pub(crate) const MAX_QUEUED_FDS: usize = 4096;
/// Largest reply.
pub(crate) const MAX_REPLY: usize = HEADER + 5 + MAX_TEXT;
/// Longest text of a failure that is sent; the rest is cut.
pub(crate) const MAX_TEXT: usize = 4096;
/// Descriptors of the protocol's own in a Fork: socket, memory file, parcel.
const OWN_FDS: usize = 3;
const INLINE_FDS: usize = MAX_FDS - OWN_FDS;

const _: () = assert!(INLINE_FDS > 0 && INLINE_FDS <= u16::MAX as usize);

const IN_FILE: u8 = 1;
const IN_PARCEL: u8 = 2;
const TELL_READY: u8 = 4;

const FORK: u8 = 1;
const SIGNAL: u8 = 2;
const PIDFD: u8 = 3;
const PID: u8 = 4;
const PRIVILEGED: u8 = 5;
const RETIRE: u8 = 6;
const READY: u8 = 129;
const FAILED: u8 = 130;
const EXITED: u8 = 131;
const PID_IS: u8 = 132;
const PIDFD_IS: u8 = 133;
const DONE: u8 = 134;

/// What could not be done, in the process that could not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) errno: i32,
    pub(crate) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Fork,
    Threads,
    Protocol,
    Denied,
    Setup,
    Config,
    Entry,
    Exec,
}

const STAGES: [Stage; 8] = [
    Stage::Fork,
    Stage::Threads,
    Stage::Protocol,
    Stage::Denied,
    Stage::Setup,
    Stage::Config,
    Stage::Entry,
    Stage::Exec,
];

impl Failure {
    pub(crate) fn new(stage: Stage, errno: i32, message: impl fmt::Display) -> Failure {
        Failure { stage, errno, message: message.to_string() }
    }

    pub(crate) fn io(stage: Stage, what: impl fmt::Display, error: &io::Error) -> Failure {
        match error.raw_os_error() {
            Some(errno) => Failure::new(stage, errno, what),
            None => Failure::new(stage, 0, format_args!("{what}: {error}")),
        }
    }
}

/// A message that cannot be what our own other end sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Not the sender's fault, for once.
pub(crate) const NO_MEMORY: Malformed = Malformed("no memory for it");

/// A request, as a template takes it in. Nothing in here is allocated or moved out of
/// the datagram, but for `Privileged`: what a template writes to, or allocates,
/// between forks costs it, and each new process, a copied page.
#[derive(Debug)]
pub(crate) enum Request {
    Fork(Fork),
    Signal { id: u64, signal: i32, process: u64 },
    Pidfd { id: u64, process: u64 },
    Pid { id: u64, process: u64 },
    Privileged { id: u64, names: Vec<String> },
    Retire,
}

/// What is in a Fork; its descriptors are those of the datagram, in this order:
/// socket, memory file, parcel, and `inline` of the queued ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fork {
    pub(crate) id: u64,
    pub(crate) tell_ready: bool,
    /// Length of the datagram; the body begins behind its header.
    len: usize,
    in_file: bool,
    in_parcel: bool,
    /// Queued descriptors that wait in the parcel.
    beyond: usize,
}

/// A Fork taken apart, in the process that it is for.
pub(crate) struct Parts {
    pub(crate) socket: OwnedFd,
    pub(crate) steps: Steps,
    pub(crate) fds: VecDeque<OwnedFd>,
    /// A parcel and how many descriptors are in it.
    pub(crate) parcel: Option<(OwnedFd, usize)>,
}

impl Fork {
    /// `datagram` and `fds` are what this was parsed from.
    pub(crate) fn take_apart(
        self,
        datagram: Box<[u8]>,
        fds: Vec<OwnedFd>,
    ) -> Result<Parts, Failure> {
        let mut fds = VecDeque::from(fds);
        let mut next = || {
            fds.pop_front()
                .ok_or_else(|| Failure::new(Stage::Protocol, 0, "a descriptor is missing"))
        };
        let socket = next()?;
        let steps = if self.in_file {
            Steps::in_file(next()?)
                .map_err(|e| Failure::io(Stage::Protocol, "reading the request", &e))?
        } else {
            Steps::inline(datagram, HEADER..self.len)
        };
        let parcel = if self.in_parcel { Some((next()?, self.beyond)) } else { None };
        Ok(Parts { socket, steps, fds, parcel })
    }
}

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

fn header(kind: u8, flags: u8, attached: usize, queued: usize, id: u64) -> [u8; HEADER] {
    let mut h = [0; HEADER];
    h[0] = kind;
    h[1] = flags;
    h[2..4].copy_from_slice(&(attached as u16).to_le_bytes());
    h[4..8].copy_from_slice(&(queued as u32).to_le_bytes());
    h[8..16].copy_from_slice(&id.to_le_bytes());
    h
}

/// The id in a datagram, however wrong the rest of it is.
pub(crate) fn id_of(datagram: &[u8]) -> u64 {
    datagram.get(8..16).map_or(0, |b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
}

/// Sends a Fork. Blocks only while the template has more unread requests than its
/// socket's buffer holds.
pub(crate) fn send_fork(
    socket: impl AsFd,
    id: u64,
    steps: &[u8],
    end: &End<'_>,
    end_socket: BorrowedFd<'_>,
    queued: &[BorrowedFd<'_>],
    tell_ready: bool,
) -> io::Result<()> {
    let tail = end.encode();
    let mut flags = if tell_ready { TELL_READY } else { 0 };
    let mut fds = Vec::with_capacity(1 + queued.len().min(INLINE_FDS));
    fds.push(end_socket);
    let file;
    let mut parts: [&[u8]; 2] = [steps, &tail];
    if HEADER + steps.len() + tail.len() > MAX_DATAGRAM {
        file = crate::sys::memfd::sealed(&parts)?;
        fds.push(file.as_fd());
        flags |= IN_FILE;
        parts = [&[], &[]];
    }
    let (inline, beyond) = queued.split_at(queued.len().min(INLINE_FDS));
    let parcel;
    if !beyond.is_empty() {
        parcel = pack(beyond)?;
        fds.push(parcel.as_fd());
        flags |= IN_PARCEL;
    }
    fds.extend_from_slice(inline);
    let h = header(FORK, flags, fds.len(), queued.len(), id);
    let parts = [IoSlice::new(&h), IoSlice::new(parts[0]), IoSlice::new(parts[1])];
    fdpass::send(socket, &parts, &fds, true)
}

fn pack(fds: &[BorrowedFd<'_>]) -> io::Result<OwnedFd> {
    let (near, far) = fdpass::control_pair()?;
    for some in fds.chunks(MAX_FDS) {
        fdpass::send(&near, &[IoSlice::new(b"p")], some, false).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => io::Error::from_raw_os_error(libc::ENOBUFS),
            _ => e,
        })?;
    }
    Ok(far)
}

/// Takes the descriptors out of a parcel, all of them or an error.
pub(crate) fn unpack(
    parcel: OwnedFd,
    count: usize,
    into: &mut VecDeque<OwnedFd>,
) -> Result<(), Failure> {
    let wanted = into.len() + count;
    let mut some = Vec::new();
    while into.len() < wanted {
        let got = fdpass::receive(&parcel, &mut [0; 8], &mut some, false)
            .map_err(|e| Failure::io(Stage::Protocol, "reading a parcel", &e))?;
        match got {
            Some(r) if r.fds_lost => {
                return Err(Failure::new(Stage::Fork, libc::EMFILE, "receiving descriptors"));
            }
            Some(_) if !some.is_empty() && into.len() + some.len() <= wanted => {
                into.extend(some.drain(..));
            }
            _ => return Err(Failure::new(Stage::Protocol, 0, "a parcel with other contents")),
        }
    }
    Ok(())
}

pub(crate) fn send_signal(socket: impl AsFd, id: u64, process: u64, signal: i32) -> io::Result<()> {
    send_plain(socket, SIGNAL, id, &[&(signal as u32).to_le_bytes(), &process.to_le_bytes()], true)
}

pub(crate) fn send_pid(socket: impl AsFd, id: u64, process: u64) -> io::Result<()> {
    send_plain(socket, PID, id, &[&process.to_le_bytes()], true)
}

pub(crate) fn send_pidfd(socket: impl AsFd, id: u64, process: u64) -> io::Result<()> {
    send_plain(socket, PIDFD, id, &[&process.to_le_bytes()], true)
}

pub(crate) fn send_privileged(socket: impl AsFd, id: u64, names: &[&str]) -> io::Result<()> {
    let mut body = Vec::new();
    for name in names {
        step::put_bytes(&mut body, name.as_bytes());
    }
    if HEADER + body.len() > MAX_DATAGRAM {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    send_plain(socket, PRIVILEGED, id, &[&body], true)
}

/// Never waits: a template that does not read is no reason for a drop to hang,
/// and the end of the connection says the same, less gently.
pub(crate) fn send_retire(socket: impl AsFd) -> io::Result<()> {
    send_plain(socket, RETIRE, 0, &[], false)
}

fn send_plain(s: impl AsFd, kind: u8, id: u64, body: &[&[u8]], wait: bool) -> io::Result<()> {
    let h = header(kind, 0, 0, 0, id);
    let mut parts = vec![IoSlice::new(&h)];
    parts.extend(body.iter().map(|b| IoSlice::new(b)));
    fdpass::send(s, &parts, &[], wait)
}

impl Request {
    /// Checks a received datagram, which came with this many descriptors.
    pub(crate) fn parse(bytes: &[u8], fds: usize) -> Result<Request, Malformed> {
        let Some((h, body)) = bytes.split_at_checked(HEADER) else {
            return Err(Malformed("shorter than a header"));
        };
        let attached = u16::from_le_bytes([h[2], h[3]]) as usize;
        if attached != fds {
            return Err(Malformed("other descriptors than it says"));
        }
        let id = id_of(h);
        let mut r = Reader::new(body);
        if h[0] == FORK {
            return Request::fork(h, body, attached, id);
        }
        if attached != 0 || h[1] != 0 {
            return Err(Malformed("descriptors or flags where none belong"));
        }
        let request = match h[0] {
            SIGNAL => Request::Signal { id, signal: r.u32()? as i32, process: r.u64()? },
            PIDFD => Request::Pidfd { id, process: r.u64()? },
            PID => Request::Pid { id, process: r.u64()? },
            PRIVILEGED => {
                let mut names = Vec::new();
                while !r.is_empty() {
                    names.push(r.text()?.into_owned());
                }
                Request::Privileged { id, names }
            }
            RETIRE => Request::Retire,
            _ => return Err(Malformed("an unknown kind of message")),
        };
        if r.is_empty() { Ok(request) } else { Err(Malformed("bytes left over")) }
    }

    fn fork(h: &[u8], body: &[u8], attached: usize, id: u64) -> Result<Request, Malformed> {
        let flags = h[1];
        if flags & !(IN_FILE | IN_PARCEL | TELL_READY) != 0 {
            return Err(Malformed("unknown flags"));
        }
        let queued = u32::from_le_bytes([h[4], h[5], h[6], h[7]]) as usize;
        if queued > MAX_QUEUED_FDS {
            return Err(Malformed("more descriptors than a process can be sent"));
        }
        let (in_file, in_parcel) = (flags & IN_FILE != 0, flags & IN_PARCEL != 0);
        if in_file && !body.is_empty() {
            return Err(Malformed("a body here and in a file"));
        }
        let own = 1 + usize::from(in_file) + usize::from(in_parcel);
        let inline = attached.checked_sub(own).ok_or(Malformed("a descriptor is missing"))?;
        let beyond = queued.checked_sub(inline).ok_or(Malformed("too many descriptors"))?;
        if (beyond > 0) != in_parcel {
            return Err(Malformed("descriptors are missing"));
        }
        let (tell_ready, len) = (flags & TELL_READY != 0, HEADER + body.len());
        Ok(Request::Fork(Fork { id, tell_ready, len, in_file, in_parcel, beyond }))
    }
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

/// Who sent a request; a sender that the kernel says nothing about is nobody.
pub(crate) fn asker(sender: Option<Sender>) -> Sender {
    sender.unwrap_or(Sender { pid: 0, uid: 65534, gid: 65534 })
}
