//! The control protocol: the only place that knows its layout.
//!
//! One message is one SOCK_SEQPACKET datagram. Integers are little-endian (both
//! ends are the same binary on the same machine; it is for those who read a dump).
//!
//! ```text
//! byte 0   kind
//!      1   flags: 1 body is elsewhere, 2 descriptors in a parcel, 4 tell when ready, 8 detached
//!      2-3 descriptors attached to this datagram
//!      4-7 descriptors queued in all (Fork), or 0
//!      8-15 id: chosen by the parent, names the new process or the question
//!      16- body
//!
//! request     body                      descriptors
//! Fork        steps, then an end        socket, [body], [parcel], queued ones
//! Signal      u32 signal, id of the process
//! Pidfd       id of the process
//! Pid         id of the process
//! Privileged  names of entries
//! Retire
//! Streams                                0, 1 and 2 of a daemon that has taken over
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
//! What does not fit a datagram is in a sealed memory file, or where there can be none (the
//! sender may not have files of that size, say) waits in the queue of a stream socket that
//! is attached; descriptors beyond [`MAX_FDS`] wait in that of a *parcel*, another one.
//! So a request is one datagram always: taken whole or not at all, and any number
//! of threads may send them.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::{fmt, io};

use crate::sys::fdpass::{self, MAX_FDS, Sender};
use crate::sys::{memfd, queued};

mod reply;
mod request;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use reply::{Encoded, Reply};
pub(crate) use request::{Fork, Parts, Request, unpack};
pub(crate) use step::{Bytes, End, Next, Step, Steps};

pub(crate) const HEADER: usize = 16;
/// Largest datagram; longer bodies travel in a memory file, or a socket.
pub(crate) const MAX_DATAGRAM: usize = 16 * 1024;
/// Largest body: all arguments, settings and names of one request.
pub(crate) const MAX_BODY: u64 = 8 << 30;
/// Most descriptors queued for one process.
pub(crate) const MAX_QUEUED_FDS: usize = 4096;
/// Largest reply.
pub(crate) const MAX_REPLY: usize = HEADER + 5 + MAX_TEXT;
/// Longest text of a failure that is sent; the rest is cut.
pub(crate) const MAX_TEXT: usize = 4096;
/// Descriptors of the protocol's own in a Fork: socket, body, parcel.
const OWN_FDS: usize = 3;
const INLINE_FDS: usize = MAX_FDS - OWN_FDS;

const _: () = assert!(INLINE_FDS > 0 && INLINE_FDS <= u16::MAX as usize);

const IN_FILE: u8 = 1;
const IN_PARCEL: u8 = 2;
const TELL_READY: u8 = 4;
const DETACHED: u8 = 8;

const FORK: u8 = 1;
const SIGNAL: u8 = 2;
const PIDFD: u8 = 3;
const PID: u8 = 4;
const PRIVILEGED: u8 = 5;
const RETIRE: u8 = 6;
const STREAMS: u8 = 7;
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

/// What a Fork says beside its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct How {
    /// Somebody waits until they are done.
    pub(crate) tell_ready: bool,
    /// The process is not tied to its template from the first instruction on. There is a step
    /// that says so as well; but before the process has come to that, the template may have
    /// ended, as the program does that asks for it.
    pub(crate) detached: bool,
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
    how: How,
) -> io::Result<()> {
    let tail = end.encode();
    let mut flags = if how.tell_ready { TELL_READY } else { 0 };
    flags |= if how.detached { DETACHED } else { 0 };
    let mut fds = Vec::with_capacity(1 + queued.len().min(INLINE_FDS));
    fds.push(end_socket);
    let file;
    let mut parts: [&[u8]; 2] = [steps, &tail];
    if HEADER + steps.len() + tail.len() > MAX_DATAGRAM {
        file = put_aside(&parts)?;
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

/// The body that a datagram has no room for. If there is no room in a socket either, what is
/// said is why there is no file.
fn put_aside(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    memfd::sealed(parts).or_else(|why| queued::fill(parts).map_err(|_| why))
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

/// Never waits, as nobody waits for the answer: there is none.
pub(crate) fn send_streams(socket: impl AsFd, streams: &[OwnedFd; 3]) -> io::Result<()> {
    let h = header(STREAMS, 0, streams.len(), 0, 0);
    fdpass::send(socket, &[IoSlice::new(&h)], &streams.each_ref().map(|fd| fd.as_fd()), false)
}

fn send_plain(s: impl AsFd, kind: u8, id: u64, body: &[&[u8]], wait: bool) -> io::Result<()> {
    let h = header(kind, 0, 0, 0, id);
    let mut parts = vec![IoSlice::new(&h)];
    parts.extend(body.iter().map(|b| IoSlice::new(b)));
    fdpass::send(s, &parts, &[], wait)
}

/// Who sent a request; a sender that the kernel says nothing about is nobody.
pub(crate) fn asker(sender: Option<Sender>) -> Sender {
    sender.unwrap_or(Sender { pid: 0, uid: 65534, gid: 65534 })
}
