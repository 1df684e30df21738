//! Datagrams with file descriptors and sender credentials attached.
//!
//! Written on `recvmsg` itself rather than on a wrapper, because on truncation
//! the descriptors that did arrive must be closed, and the wrappers that report
//! truncation do not give them back (unix(7), SCM_RIGHTS).

use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};

/// Most descriptors that the kernel passes with one message (SCM_MAX_FD).
pub(crate) const MAX_FDS: usize = 253;

/// What the kernel vouches for about the sender of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// One received datagram; its bytes and descriptors are in the caller's buffers.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) sender: Option<Sender>,
    /// More bytes, or more descriptors, were sent than could be taken in.
    pub(crate) truncated: bool,
    /// Descriptors were lost: no room for them in this process.
    pub(crate) fds_lost: bool,
}

/// A connected pair of control sockets: message boundaries kept, close-on-exec,
/// and above 2 even in a program that was started without standard streams.
pub(crate) fn control_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SockType::SeqPacket)
}

/// A control pair of which the second end is a template's: what that receives says who
/// has sent it.
pub(crate) fn template_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (near, far) = control_pair()?;
    want_credentials(&far)?;
    Ok((near, far))
}

/// A connected pair of stream sockets, with the same guarantees.
pub(crate) fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SockType::Stream)
}

fn pair(kind: SockType) -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((super::fds::above_stdio(a)?, super::fds::above_stdio(b)?))
}

/// Asks the kernel to attach the sender's credentials to what this end receives.
pub(crate) fn want_credentials(end: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&end.as_fd(), sockopt::PassCred, &true)?)
}

/// Whether `fd` is a connected sequenced-packet socket, and who made its peer.
pub(crate) fn control_peer(fd: impl AsFd) -> io::Result<Sender> {
    let fd = fd.as_fd();
    if nix::sys::socket::getsockopt(&fd, sockopt::SockType)? != SockType::SeqPacket {
        return Err(io::Error::from_raw_os_error(libc::EPROTOTYPE));
    }
    nix::sys::socket::getpeername::<nix::sys::socket::UnixAddr>(fd.as_raw_fd())?;
    let peer = nix::sys::socket::getsockopt(&fd, sockopt::PeerCredentials)?;
    Ok(Sender { pid: peer.pid(), uid: peer.uid(), gid: peer.gid() })
}

// Room for the descriptors and the credentials, aligned as cmsghdr wants it.
const CONTROL_WORDS: usize = {
    let fds = cmsg_space(MAX_FDS * size_of::<i32>());
    let creds = cmsg_space(size_of::<libc::ucred>());
    (fds + creds).div_ceil(size_of::<usize>())
};

const fn cmsg_space(payload: usize) -> usize {
    // SAFETY: CMSG_SPACE is arithmetic on its argument.
    unsafe { libc::CMSG_SPACE(payload as u32) as usize }
}

/// Sends one datagram. Never raises SIGPIPE. With `wait` false it fails with
/// `WouldBlock` instead of waiting for room.
pub(crate) fn send(
    socket: impl AsFd,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<()> {
    send_some(socket, parts, fds, wait).map(|_| ())
}

/// The same on any socket: a stream takes as many bytes as there is room for, and the
/// descriptors with the first of them. How many bytes it took.
pub(crate) fn send_some(
    socket: impl AsFd,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<usize> {
    assert!(fds.len() <= MAX_FDS, "the caller splits what one message cannot carry");
    let mut control = [MaybeUninit::<usize>::uninit(); CONTROL_WORDS];
    // SAFETY: msghdr is plain data, for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = parts.as_ptr() as *mut libc::iovec;
    message.msg_iovlen = parts.len() as _;
    if !fds.is_empty() {
        let bytes = std::mem::size_of_val(fds);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = cmsg_space(bytes) as _;
        // SAFETY: the control buffer is aligned and larger than CMSG_SPACE(bytes),
        // so the first header and `bytes` of data behind it lie within it; a
        // BorrowedFd is a transparent RawFd.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes as u32) as _;
            std::ptr::copy_nonoverlapping(
                fds.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(header),
                bytes,
            );
        }
    }
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: the header points at live buffers of the stated lengths.
        let sent = unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &message, flags) };
        if sent >= 0 {
            return Ok(sent as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends bytes and nothing else, as [`send_some`] does. For one at a time it makes a
/// difference: the kernel need not take a header and a list of parts apart.
pub(crate) fn send_bytes(socket: impl AsFd, bytes: &[u8], wait: bool) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    let (socket, start) = (socket.as_fd().as_raw_fd(), bytes.as_ptr().cast());
    loop {
        // SAFETY: the bytes are borrowed for the call.
        let sent = unsafe { libc::send(socket, start, bytes.len(), flags) };
        if sent >= 0 {
            return Ok(sent as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Whether a send failed because nobody can receive at the other end any more.
pub(crate) fn is_end(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN))
}

/// Bytes that have arrived, and were not received.
pub(crate) fn arrived(socket: impl AsFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes an int.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::FIONREAD, &mut bytes) };
    if done == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Whether the peer has yet to receive something that was sent to it.
pub(crate) fn is_unread(socket: impl AsFd) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes an int.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    done == 0 && bytes > 0
}

/// Receives one datagram; `None` is the end of the connection. Every descriptor
/// that arrives, truncated or not, is close-on-exec and now in `fds` (in place of
/// what was there: a template reuses one vector, since allocating between forks
/// costs it a copied page).
pub(crate) fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    wait: bool,
) -> io::Result<Option<Received>> {
    let (start, room) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the buffer is borrowed for the call.
    unsafe { receive_at(socket.as_fd(), start, room, fds, wait) }
}

/// Receives from a stream, behind what is in `buffer`, no more than its spare room and
/// than `most`. `None` is the end of the connection. Descriptors as in [`receive`]; the
/// kernel gives out those of one message at a time, with its first bytes.
pub(crate) fn receive_more(
    socket: impl AsFd,
    buffer: &mut Vec<u8>,
    most: usize,
    fds: &mut Vec<OwnedFd>,
    wait: bool,
) -> io::Result<Option<Received>> {
    let spare = buffer.spare_capacity_mut();
    let (start, room) = (spare.as_mut_ptr().cast(), spare.len().min(most));
    assert!(room > 0, "without room the end could not be told from a full buffer");
    // SAFETY: the spare capacity is borrowed for the call; the kernel only writes there.
    let received = unsafe { receive_at(socket.as_fd(), start, room, fds, wait) }?;
    let Some(received) = received.filter(|r| r.len > 0) else { return Ok(None) };
    // SAFETY: the kernel has filled so many bytes of the spare capacity.
    unsafe { buffer.set_len(buffer.len() + received.len) };
    Ok(Some(received))
}

/// # Safety
/// `room` bytes from `start` on can be written to.
unsafe fn receive_at(
    socket: BorrowedFd<'_>,
    start: *mut libc::c_void,
    room: usize,
    fds: &mut Vec<OwnedFd>,
    wait: bool,
) -> io::Result<Option<Received>> {
    fds.clear();
    let mut control = [MaybeUninit::<usize>::uninit(); CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: start, iov_len: room };
    // SAFETY: as in `send`.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = std::mem::size_of_val(&control) as _;
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    let len = loop {
        // SAFETY: the header points at live buffers of the stated lengths.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) };
        if got >= 0 {
            break got as usize;
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            // ConnectionReset: the peer died with messages of ours unread. It is told
            // once, and before what the peer has sent, which is still to be read.
            io::ErrorKind::Interrupted | io::ErrorKind::ConnectionReset => {}
            _ => return Err(error),
        }
    };
    let mut received = Received {
        len,
        sender: None,
        truncated: message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        fds_lost: message.msg_flags & libc::MSG_CTRUNC != 0,
    };
    let mut any = false;
    // SAFETY: the kernel filled msg_control up to msg_controllen; the CMSG macros
    // walk within it, and each header's cmsg_len covers its data. Descriptors in
    // SCM_RIGHTS are new and ours alone.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            any = true;
            let data = libc::CMSG_DATA(header);
            let bytes = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let numbers = data.cast::<i32>();
                    for i in 0..bytes / size_of::<i32>() {
                        let fd = numbers.add(i).read_unaligned();
                        fds.push(OwnedFd::from_raw_fd(fd));
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if bytes >= size_of::<libc::ucred>() => {
                    let c = data.cast::<libc::ucred>().read_unaligned();
                    received.sender = Some(Sender { pid: c.pid, uid: c.uid, gid: c.gid });
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    // An empty datagram is a message that says nothing, not the end: what comes
    // to a template carries credentials. Without them there is no telling, and
    // none of our own messages is empty.
    if len == 0 && !any {
        return Ok(None);
    }
    Ok(Some(received))
}
