//! A template that is lied to, and what it is honestly asked.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{setsockopt, sockopt};
use offshoot::{Args, Process, Start};
use offshoot_tests::forge::{self, Message, REPLIES, REQUESTS};
use offshoot_tests::probe::{children_of, fds_of, template_of};
use offshoot_tests::{DEADLINE, eventually, runs};

#[offshoot::entry(name = "answer")]
fn answer(mut start: Start) {
    // What is given out as its stream may be anything.
    let _ = start.stream.write_all(b"here");
}

/// Ends when its stream does.
#[offshoot::entry(name = "linger")]
fn linger(mut start: Start) {
    let _ = start.stream.read(&mut [0]);
}

#[offshoot::setup(name = "prepare")]
fn prepare(_: Args) {}

/// A template that is lied to, and the handle of somebody honest.
pub(crate) struct Victim {
    /// The template that it was forked from, if that has to be kept.
    _parent: Option<OwnedFd>,
    pub(crate) raw: OwnedFd,
    honest: Process,
    /// The descriptor that the honest handle has.
    its: RawFd,
    pub(crate) pid: u32,
    fds: std::collections::BTreeSet<i32>,
    lies: u64,
}

impl Victim {
    pub(crate) fn new() -> Victim {
        Victim::of(None, Process::new().unwrap().into_fd().unwrap())
    }

    /// One whose socket takes a few replies, and no more until they are read.
    pub(crate) fn with_little_room() -> Victim {
        let (near, far) = forge::control_pair();
        // As little as the kernel allows.
        setsockopt(&far, sockopt::SndBuf, &1).unwrap();
        let parent = Process::new().unwrap().into_fd().unwrap();
        let serve = Message { kind: REQUESTS[0], body: vec![32], ..Message::default() };
        Message { fds: vec![far], ..serve }.send(&parent).unwrap();
        Victim::of(Some(parent), near)
    }

    fn of(parent: Option<OwnedFd>, raw: OwnedFd) -> Victim {
        let own = raw.try_clone().unwrap();
        let its = own.as_raw_fd();
        let honest = Process::from_fd(own).unwrap();
        let child = honest.fork().unwrap().run(linger).unwrap();
        let pid = template_of(&child);
        child.stream().shutdown(std::net::Shutdown::Both).unwrap();
        // That it has ended is read, too.
        assert!(child.wait().unwrap().success());
        drop(child);
        Victim { _parent: parent, raw, honest, its, pid, fds: fds_of(pid), lies: 0 }
    }

    /// Ids that the honest handle does not use.
    pub(crate) fn id(&mut self) -> u64 {
        self.lies += 1;
        0xa5a5_a5a5_0000_0000 | self.lies
    }

    /// Reads the replies that have come; they are such.
    pub(crate) fn replies(&self) -> Vec<(u8, u64, Vec<u8>)> {
        let all = std::iter::from_fn(|| forge::receive(&self.raw, false));
        let parsed = all.map(|(bytes, fds)| {
            assert!(bytes.len() >= 16 && REPLIES.contains(&bytes[0]), "{bytes:?}");
            assert_eq!(fds, usize::from(bytes[0] == 133));
            (bytes[0], u64::from_le_bytes(bytes[8..16].try_into().unwrap()), bytes[16..].to_vec())
        });
        parsed.collect()
    }

    /// Sends a lie; what the template says to it (the stage and text of a failure).
    pub(crate) fn lie(&mut self, mut message: Message) -> String {
        message.id = self.id();
        message.send(&self.raw).unwrap();
        loop {
            let (bytes, _) = forge::receive(&self.raw, true).expect("it answers");
            if bytes[8..16] == message.id.to_le_bytes() && bytes[0] == 130 {
                return String::from_utf8(bytes[21..].to_vec()).unwrap();
            }
            assert_ne!(bytes[0], 129, "it is not ready for anything");
        }
    }

    /// As if its owner were killed: nothing is said, and all that was its is closed.
    pub(crate) fn owner_dies(self) {
        std::mem::forget(self.honest);
        nix::unistd::close(self.its).unwrap();
    }

    /// It is as it was, works for the honest, and ends when it is let go.
    pub(crate) fn assert_well(self) {
        let Victim { raw, honest, pid, fds, .. } = self;
        for _ in 0..3 {
            let child = honest.fork().unwrap().send_arg("x").run(answer).unwrap();
            let mut said = String::new();
            child.stream().read_to_string(&mut said).unwrap();
            assert_eq!(said, "here");
            assert!(child.wait().unwrap().success());
        }
        eventually(DEADLINE, "no children, zombies included", || children_of(pid).is_empty());
        eventually(DEADLINE, "the descriptors that it had", || fds_of(pid) == fds);
        drop((raw, honest));
        eventually(DEADLINE, "no copy of its socket keeps it", || !runs(pid));
    }
}
