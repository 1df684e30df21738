//! Messages on the control socket that lie to a template.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::sys::socket::SockType;
use offshoot::{Args, Process, Start};
use offshoot_tests::forge::{self, Message, REPLIES, REQUESTS, Rng};
use offshoot_tests::probe::{alone, children_of, fds_of, template_of};
use offshoot_tests::{DEADLINE, eventually, runs, state, within};

offshoot::early!();

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
struct Victim {
    raw: OwnedFd,
    honest: Process,
    pid: u32,
    fds: std::collections::BTreeSet<i32>,
    lies: u64,
}

impl Victim {
    fn new() -> Victim {
        let raw = Process::new().unwrap().into_fd().unwrap();
        let honest = Process::from_fd(raw.try_clone().unwrap()).unwrap();
        let child = honest.fork().unwrap().run(linger).unwrap();
        let pid = template_of(&child);
        drop(child);
        eventually(DEADLINE, "the first child is gone", || children_of(pid).is_empty());
        Victim { raw, honest, pid, fds: fds_of(pid), lies: 0 }
    }

    /// Ids that the honest handle does not use.
    fn id(&mut self) -> u64 {
        self.lies += 1;
        0xa5a5_a5a5_0000_0000 | self.lies
    }

    /// Reads the replies that have come; they are such.
    fn replies(&self) -> Vec<(u8, u64, Vec<u8>)> {
        let all = std::iter::from_fn(|| forge::receive(&self.raw, false));
        let parsed = all.map(|(bytes, fds)| {
            assert!(bytes.len() >= 16 && REPLIES.contains(&bytes[0]), "{bytes:?}");
            assert_eq!(fds, usize::from(bytes[0] == 133));
            (bytes[0], u64::from_le_bytes(bytes[8..16].try_into().unwrap()), bytes[16..].to_vec())
        });
        parsed.collect()
    }

    /// Sends a lie; what the template says to it (the stage and text of a failure).
    fn lie(&mut self, mut message: Message) -> String {
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

    /// It is as it was, works for the honest, and ends when it is let go.
    fn assert_well(self) {
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

fn stream() -> OwnedFd {
    forge::pair(SockType::Stream).0
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn well_formed() -> Message {
    forge::fork(0, &[], "answer", stream())
}

#[test]
fn a_forged_message_that_is_right_is_served() {
    within(DEADLINE, || {
        let mut victim = Victim::new();
        let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let id = victim.id();
        forge::fork(id, &[], "answer", far.into()).send(&victim.raw).unwrap();
        let mut said = String::new();
        near.read_to_string(&mut said).unwrap();
        assert_eq!(said, "here", "or else the other tests would show nothing");
        victim.assert_well();
    });
}

#[test]
fn each_kind_of_lie_is_told_by_its_name() {
    within(DEADLINE, || {
        let _alone = alone();
        let mut victim = Victim::new();
        let mut check = |message, expected: &str| {
            let said = victim.lie(message);
            assert!(said.contains(expected), "{said:?} is not about {expected:?}");
        };
        let with = |change: fn(&mut Message)| {
            let mut message = well_formed();
            change(&mut message);
            message
        };
        let fork_with_file = |file| Message {
            kind: REQUESTS[0],
            flags: forge::IN_FILE,
            fds: vec![stream(), file],
            ..Message::default()
        };
        let body = well_formed().body;
        let size = body.len() as u64;
        check(with(|m| m.kind = 77), "descriptors or flags");
        check(Message { kind: 77, ..Message::default() }, "unknown kind");
        check(Message { kind: REQUESTS[3], ..Message::default() }, "beyond the end");
        check(Message { kind: REQUESTS[3], body: vec![0; 9], ..Message::default() }, "left over");
        check(
            Message { kind: REQUESTS[5], fds: vec![null()], ..Message::default() },
            "none belong",
        );
        check(Message { kind: REQUESTS[5], flags: 1, ..Message::default() }, "none belong");
        check(with(|m| m.attached = Some(7)), "other descriptors than it says");
        check(with(|m| m.attached = Some(0)), "other descriptors than it says");
        check(with(|m| m.fds.clear()), "a descriptor is missing");
        check(with(|m| m.fds.push(null())), "too many descriptors");
        check(with(|m| m.queued = 1), "descriptors are missing");
        check(with(|m| m.queued = u32::MAX), "more descriptors than a process can be sent");
        check(with(|m| m.flags = 128), "unknown flags");
        check(with(|m| m.flags = forge::IN_PARCEL), "a descriptor is missing");
        check(with(|m| m.body = vec![0; 20_000]), "too long");
        check(with(|m| m.body.clear()), "beyond the end");
        check(with(|m| m.body[0] = 31), "an unknown step");
        check(with(|m| m.body[8] = 255), "a length beyond the end");
        check(with(|m| m.body.push(0)), "bytes after the end");
        check(with(|m| m.body = [vec![3], forge::string([0xff])].concat()), "not UTF-8");
        check(with(|m| m.body = [vec![33], forge::string([0xff])].concat()), "no entry");
        check(with(|m| m.body = [vec![33], forge::string("nobody")].concat()), "no entry");
        check(with(|m| m.body = [&[34], &[255; 4][..]].concat()), "a length beyond the end");
        check(with(|m| m.body = vec![34, 0, 0, 0, 0]), "no program");
        check(with(|m| m.body = vec![4, 3]), "no such standard stream");
        check(with(|m| m.body.insert(0, 2)), "a descriptor is missing");
        check(
            with(|m| {
                m.fds.push(null());
                m.queued = 1;
            }),
            "descriptors left over",
        );
        check(
            with(|m| {
                m.flags = forge::IN_FILE;
                m.fds.push(null());
            }),
            "a body here and in a file",
        );
        // To serve on what cannot be a control socket.
        check(with(|m| m.body = vec![32]), "the control socket");
        check(
            with(|m| {
                m.body = vec![32];
                m.fds = vec![null()];
            }),
            "the control socket",
        );
        check(fork_with_file(null()), "reading the request");
        check(fork_with_file(stream()), "reading the request");
        check(fork_with_file(forge::memory_file(&body, size, false)), "not sealed");
        check(fork_with_file(forge::memory_file(&body, size - 1, true)), "a length beyond the end");
        check(fork_with_file(forge::memory_file(&body, size + 1, true)), "bytes after the end");
        check(fork_with_file(forge::memory_file(&[], 0, true)), "beyond the end");
        check(fork_with_file(forge::memory_file(&[], 1 << 42, true)), "reading the request");
        check(fork_with_file(forge::memory_file(&[], 1 << 32, true)), "an unknown step");
        victim.assert_well();
    });
}

#[test]
fn a_parcel_with_other_contents_is_refused() {
    within(DEADLINE, || {
        let _alone = alone();
        let mut victim = Victim::new();
        let fork = |parcel: OwnedFd, queued| Message {
            flags: forge::IN_PARCEL,
            queued,
            fds: vec![stream(), parcel],
            ..well_formed()
        };
        let parcel = |sizes: &[usize]| {
            let (near, far) = forge::control_pair();
            for size in sizes {
                let fds: Vec<_> = (0..*size).map(|_| null()).collect();
                forge::send(&near, b"p", &fds).unwrap();
            }
            far
        };
        let (kept, open_end) = forge::control_pair();
        for (message, expected) in [
            (fork(null(), 3), "reading a parcel"),
            (fork(open_end, 3), "reading a parcel"),
            (fork(parcel(&[]), 3), "other contents"),
            (fork(parcel(&[2]), 3), "other contents"),
            (fork(parcel(&[4]), 3), "other contents"),
            (fork(parcel(&[2, 2]), 3), "other contents"),
            (fork(parcel(&[1, 0, 2]), 3), "other contents"),
            // All of them, but there is no step that takes them.
            (fork(parcel(&[1, 2]), 3), "descriptors left over"),
        ] {
            let said = victim.lie(message);
            assert!(said.contains(expected), "{said:?} is not about {expected:?}");
        }
        drop(kept);
        victim.assert_well();
    });
}

#[test]
fn what_was_asked_for_is_done_although_the_owner_died_with_replies_unread() {
    within(DEADLINE, || {
        use nix::sys::signal::{Signal, kill};
        let mut victim = Victim::new();
        let pid = nix::unistd::Pid::from_raw(victim.pid as i32);
        let mut ask = |steps: &[u8]| {
            let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
            forge::fork(victim.id(), steps, "answer", far.into()).send(&victim.raw).unwrap();
            near
        };
        let said = |mut stream: std::os::unix::net::UnixStream| {
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            said
        };
        assert_eq!(said(ask(&[])), "here");
        kill(pid, Signal::SIGSTOP).unwrap();
        eventually(DEADLINE, "it is stopped", || state(pid.as_raw() as u32) == Some('T'));
        // To outlive its template.
        let detached = ask(&[16, 0, 0, 0, 0]);
        drop(victim);
        kill(pid, Signal::SIGCONT).unwrap();
        assert_eq!(said(detached), "here");
        eventually(DEADLINE, "it has ended", || !runs(pid.as_raw() as u32));
    });
}

/// Steps, well formed or not so.
fn steps(rng: &mut Rng) -> (Vec<u8>, u32) {
    let (mut bytes, mut fds) = (Vec::new(), 0);
    for _ in 0..rng.below(5) {
        match rng.below(8) {
            0 => bytes.extend([vec![1], forge::string(rng.bytes(20))].concat()),
            1 => {
                bytes.push(2);
                fds += 1;
            }
            2 => {
                bytes.extend([vec![3], forge::string("prepare")].concat());
                bytes.extend(1u32.to_le_bytes());
                bytes.extend(forge::string("x"));
            }
            3 => bytes.extend([vec![5], forge::string("KEY"), forge::string("v")].concat()),
            4 => bytes.extend([vec![8], forge::string("/")].concat()),
            5 => {
                bytes.push(rng.below(40) as u8);
                bytes.extend(rng.length().to_le_bytes());
            }
            6 => {
                // A configuration step with any numbers.
                bytes.push(10 + rng.below(9) as u8);
                let len = *rng.one_of(&[1, 4, 20]);
                bytes.extend(rng.bytes(len));
            }
            _ => {
                bytes.push(3);
                bytes.extend(forge::string("prepare"));
                bytes.extend((rng.length() as u32).to_le_bytes());
            }
        }
    }
    (bytes, fds)
}

fn random_fork(rng: &mut Rng, id: u64) -> Message {
    let (steps, fds) = steps(rng);
    let socket = if rng.once_in(4) { forge::any_fd(rng) } else { stream() };
    let mut message = match rng.below(3) {
        0 => {
            // To serve, or to execute: neither outlives its socket.
            let end: &[u8] = if rng.once_in(2) { &[32] } else { &[34, 1, 0, 0, 0] };
            let mut body = [&steps[..], end].concat();
            if end.len() > 1 {
                body.extend(forge::string("/bin/true"));
            }
            let socket = if rng.once_in(2) { forge::control_pair().0 } else { socket };
            Message { kind: 1, id, body, fds: vec![socket], ..Message::default() }
        }
        1 => forge::fork(id, &steps, "linger", socket),
        _ => forge::fork(id, &steps, "answer", socket),
    };
    message.queued = fds;
    if rng.once_in(3) {
        message.flags |= forge::IN_FILE;
        let body = std::mem::take(&mut message.body);
        let size = (body.len() + rng.below(3)).saturating_sub(1) as u64;
        message.fds.push(forge::memory_file(&body, size, !rng.once_in(4)));
    }
    message.fds.extend((0..fds).map(|_| forge::any_fd(rng)));
    message
}

fn spoil(rng: &mut Rng, message: &mut Message) {
    match rng.below(8) {
        0 => message.flags = rng.any() as u8,
        1 => message.attached = Some(rng.any() as u16),
        2 => message.queued = rng.length() as u32,
        3 => drop(message.fds.pop()),
        4 => message.fds.push(forge::any_fd(rng)),
        5 => message.kind = *rng.one_of(&REQUESTS),
        6 => message.body.truncate(rng.below(message.body.len() + 1)),
        _ => {
            for _ in 0..1 + rng.below(3) {
                if !message.body.is_empty() {
                    let at = rng.below(message.body.len());
                    message.body[at] = rng.any() as u8;
                }
            }
        }
    }
}

fn is_retire(datagram: &[u8]) -> bool {
    datagram.first() == Some(&REQUESTS[5]) && datagram.len() == 16
}

#[test]
fn thousands_of_random_lies_leave_a_template_as_it_was() {
    within(DEADLINE, || {
        let _alone = alone();
        let mut victim = Victim::new();
        let mut rng = Rng(20_251);
        for _ in 0..4_000 {
            let id = victim.id();
            let mut message = random_fork(&mut rng, id);
            for _ in 0..rng.below(3) {
                spoil(&mut rng, &mut message);
            }
            let mut datagram = message.bytes();
            if rng.once_in(4) {
                let len = *rng.one_of(&[0, 1, 8, 15, 16, 17, 40, 3_000, 20_000]);
                datagram = rng.bytes(len);
            }
            // That would be no lie: it ends the template.
            if !is_retire(&datagram) {
                forge::send(&victim.raw, &datagram, &message.fds).unwrap();
            }
            victim.replies();
        }
        victim.assert_well();
    });
}
