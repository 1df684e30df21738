//! Bytes that wait in the queue of a socket until its other end, which is passed on, is read:
//! for what does not fit a datagram, where there can be no memory file for it.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::socket::{SockType, getsockopt, setsockopt, sockopt};

use super::fdpass;

/// No queue is made, or read, with more in it.
pub(crate) const MOST: usize = 1 << 20;

/// A socket that holds `parts`, and the end of them. An error if that is more than the kernel
/// gives room for, which without privileges is twice net.core.wmem_max: some 400 KB.
pub(crate) fn fill(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let size = parts.iter().map(|part| part.len()).sum::<usize>();
    if size > MOST {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let (near, far) = fdpass::stream_pair()?;
    // It gives as much of that as it likes.
    let _ = setsockopt(&near, sockopt::SndBuf, &MOST);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            rest = &rest[fdpass::send_bytes(&near, rest, false)?..];
        }
    }
    Ok(far)
}

/// Whether it may be such a socket.
pub(crate) fn is_socket(fd: &OwnedFd) -> bool {
    matches!(getsockopt(fd, sockopt::SockType), Ok(SockType::Stream))
}

/// What is in such a socket, all of which is there: nobody is waited for.
pub(crate) fn take(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    loop {
        if bytes.len() > MOST {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        let room = 64 * 1024;
        bytes.try_reserve(room).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        if fdpass::receive_more(socket, &mut bytes, room, &mut fds, false)?.is_none() {
            return Ok(bytes);
        }
    }
}
