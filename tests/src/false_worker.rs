//! A worker that does not keep to the protocol: its function writes to the very stream
//! on which its replies go, whatever it likes.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockType, SockaddrLike, UnixAddr, getpeername,
    getsockopt, sendmsg, sockopt,
};

/// Kinds of frames, as in the protocol.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Void = 4,
    Reply = 5,
    Failed = 6,
    Event = 7,
    Log = 9,
    Fds = 12,
}

/// The header of a frame.
pub fn header(length: u32, call: u32, kind: Kind, fds: u32) -> [u8; 12] {
    let mut header = [0; 12];
    header[0..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&call.to_le_bytes());
    header[8..12].copy_from_slice(&(kind as u32 | fds << 8).to_le_bytes());
    header
}

/// The stream of the worker that this process is.
pub fn stream() -> BorrowedFd<'static> {
    crate::open_fds()
        .into_iter()
        .map(borrow)
        .find(|fd| {
            getsockopt(fd, sockopt::SockType) == Ok(SockType::Stream)
                && getpeername::<UnixAddr>(fd.as_raw_fd())
                    .is_ok_and(|peer| peer.family() == Some(AddressFamily::Unix))
        })
        .expect("a worker has a stream")
}

#[allow(unsafe_code)]
fn borrow(fd: i32) -> BorrowedFd<'static> {
    // SAFETY: the stream stays open for as long as the process runs, and the others are
    // only looked at.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Writes with so many copies of a descriptor. Whether anybody still listens.
pub fn write(stream: BorrowedFd<'_>, bytes: &[u8], fd: BorrowedFd<'_>, copies: usize) -> bool {
    let fds = vec![fd.as_raw_fd(); copies];
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if copies > 0 { &rights[..] } else { &[] };
    let parts = [IoSlice::new(bytes)];
    sendmsg::<()>(stream.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None).is_ok()
}

/// Does not return: the parent has to put an end to it.
pub fn stay() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
