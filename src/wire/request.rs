//! Requests: as a template takes them in, and takes a Fork apart.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;

use super::step::{self, Reader};
use super::{
    DETACHED, FORK, Failure, HEADER, How, IN_FILE, IN_PARCEL, MAX_QUEUED_FDS, Malformed, PID,
    PIDFD, PRIVILEGED, RETIRE, SIGNAL, STREAMS, Stage, Steps, TELL_READY, id_of,
};
use crate::sys::fdpass;

/// A request, as a template takes it in. Nothing in here is allocated or moved out of
/// the datagram, but for `Privileged`: what a template writes to, or allocates,
/// between forks costs it, and each new process, a copied page.
#[derive(Debug)]
pub(crate) enum Request {
    Fork(Fork),
    Signal {
        id: u64,
        signal: i32,
        process: u64,
    },
    Pidfd {
        id: u64,
        process: u64,
    },
    Pid {
        id: u64,
        process: u64,
    },
    Privileged {
        id: u64,
        names: Vec<String>,
    },
    Retire,
    /// Its descriptors are those of the datagram.
    Streams,
}

/// What is in a Fork; its descriptors are those of the datagram, in this order:
/// socket, memory file, parcel, and `inline` of the queued ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fork {
    pub(crate) id: u64,
    pub(crate) how: How,
    /// Length of the datagram; the body begins behind its header.
    len: usize,
    pub(super) in_file: bool,
    pub(super) in_parcel: bool,
    /// Queued descriptors that wait in the parcel.
    pub(super) beyond: usize,
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
    /// Where the name of the entry to run is in the datagram that this was parsed from, if
    /// there is nothing else in it. Nothing is allocated.
    #[inline]
    pub(crate) fn only_run(&self, datagram: &[u8]) -> Option<Range<usize>> {
        let body = datagram.get(HEADER..self.len).filter(|_| !self.in_file)?;
        step::only_run(body).map(|name| self.len - name.len()..self.len)
    }

    /// `datagram` and `fds` are what this was parsed from.
    #[inline]
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
        if h[0] == STREAMS && attached != 3 {
            return Err(Malformed("other than three standard streams"));
        }
        if (attached != 0 && h[0] != STREAMS) || h[1] != 0 {
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
            STREAMS => Request::Streams,
            _ => return Err(Malformed("an unknown kind of message")),
        };
        if r.is_empty() { Ok(request) } else { Err(Malformed("bytes left over")) }
    }

    fn fork(h: &[u8], body: &[u8], attached: usize, id: u64) -> Result<Request, Malformed> {
        let flags = h[1];
        if flags & !(IN_FILE | IN_PARCEL | TELL_READY | DETACHED) != 0 {
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
        let how = How { tell_ready: flags & TELL_READY != 0, detached: flags & DETACHED != 0 };
        let len = HEADER + body.len();
        Ok(Request::Fork(Fork { id, how, len, in_file, in_parcel, beyond }))
    }
}
