//! Messages of the control protocol made by hand, so that they can lie. The layout
//! is the one at the top of the library's `wire.rs`.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

/// Kinds of requests: Fork, Signal, Pidfd, Pid, Privileged, Retire, Streams.
pub const REQUESTS: [u8; 7] = [1, 2, 3, 4, 5, 6, 7];
/// Kinds of replies: Ready, Failed, Exited, PidIs, PidfdIs, Done.
pub const REPLIES: [u8; 6] = [129, 130, 131, 132, 133, 134];
/// Flags of a Fork: its body is in a memory file.
pub const IN_FILE: u8 = 1;
/// Flags of a Fork: descriptors are in a parcel.
pub const IN_PARCEL: u8 = 2;
/// Flags of a Fork: the process is not tied to its template.
pub const DETACHED: u8 = 8;

/// Random numbers that are the same in each run (splitmix64).
#[derive(Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.any() % n as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.any() as u8).collect()
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A number that a length check may get wrong.
    pub fn length(&mut self) -> u64 {
        let edge = *self.one_of(&[
            0,
            1,
            2,
            7,
            8,
            255,
            4096,
            65_535,
            1 << 31,
            u32::MAX as u64,
            1 << 33,
            1 << 62,
            u64::MAX - 7,
            u64::MAX,
        ]);
        if self.once_in(3) { self.any() } else { edge }
    }
}

/// A message, right or wrong.
#[derive(Debug, Default)]
pub struct Message {
    /// First byte.
    pub kind: u8,
    /// Second byte.
    pub flags: u8,
    /// How many descriptors it says are attached; `None`: the truth.
    pub attached: Option<u16>,
    /// How many descriptors it says are queued in all.
    pub queued: u32,
    /// Names the process or the question.
    pub id: u64,
    /// All that follows the header.
    pub body: Vec<u8>,
    /// What is attached.
    pub fds: Vec<OwnedFd>,
}

impl Message {
    /// The datagram.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.flags];
        let attached = self.attached.unwrap_or(self.fds.len() as u16);
        bytes.extend(attached.to_le_bytes());
        bytes.extend(self.queued.to_le_bytes());
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// Sends it.
    pub fn send(&self, socket: impl AsFd) -> io::Result<()> {
        send(socket, &self.bytes(), &self.fds)
    }
}

/// A string as the protocol has it: its length in eight bytes, then it.
pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    bytes
}

/// A Fork that runs this entry after these steps.
pub fn fork(id: u64, steps: &[u8], entry: &str, socket: OwnedFd) -> Message {
    let mut body = steps.to_vec();
    body.push(33);
    body.extend(string(entry));
    Message { kind: REQUESTS[0], id, body, fds: vec![socket], ..Message::default() }
}

/// Sends any bytes with any descriptors.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(|f| f.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &rights[..0] } else { &rights };
    let parts = [IoSlice::new(bytes)];
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// What is there to be received, if anything, with the number of descriptors that
/// came with it (and are closed again). At the end of the connection: nothing.
pub fn receive(socket: impl AsFd, wait: bool) -> Option<(Vec<u8>, usize)> {
    let (bytes, fds) = receive_all(socket, wait)?;
    Some((bytes, fds.len()))
}

/// The descriptors of the next message, which is waited for.
pub fn receive_fds(socket: impl AsFd) -> Vec<OwnedFd> {
    receive_all(socket, true).map_or(Vec::new(), |(_, fds)| fds)
}

fn receive_all(socket: impl AsFd, wait: bool) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
    let mut buffer = vec![0; 1 << 18];
    let mut space = cmsg_space!([RawFd; 253], nix::libc::ucred);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags =
        MsgFlags::MSG_CMSG_CLOEXEC | if wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
    let got =
        recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
    let mut fds = Vec::new();
    for control in got.cmsgs().ok()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            fds.extend(raw.into_iter().map(crate::probe::inherited_fd));
        }
    }
    let len = got.bytes;
    (len > 0).then(|| (buffer[..len].to_vec(), fds))
}

/// A pair of sockets as control sockets are.
pub fn control_pair() -> (OwnedFd, OwnedFd) {
    pair(SockType::SeqPacket)
}

/// A pair of sockets.
pub fn pair(kind: SockType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).expect("there is room")
}

/// A memory file of `size` bytes, the first of which are `contents`.
pub fn memory_file(contents: &[u8], size: u64, sealed: bool) -> OwnedFd {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"forged", flags).expect("memfd_create"));
    file.write_all(contents).expect("there is memory");
    file.set_len(size).expect("it is sparse");
    if sealed {
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("nothing maps it");
    }
    file.into()
}

/// A descriptor of one kind or another.
pub fn any_fd(rng: &mut Rng) -> OwnedFd {
    match rng.below(6) {
        0 => File::open("/dev/null").expect("/dev/null").into(),
        1 => File::open("/").expect("/").into(),
        2 => std::io::pipe().expect("there is room").0.into(),
        3 => pair(SockType::Stream).0,
        4 => control_pair().0,
        _ => memory_file(b"contents", 8, rng.once_in(2)),
    }
}
