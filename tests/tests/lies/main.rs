//! Messages on the control socket that lie to a template.

mod random;
mod unread;
mod victim;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::sys::socket::SockType;
use offshoot_tests::forge::{self, Message, REQUESTS};
use offshoot_tests::probe::alone;
use offshoot_tests::{DEADLINE, eventually, runs, state, within};
use victim::Victim;

offshoot::early!();

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
        let streams = |count: usize| Message {
            kind: REQUESTS[6],
            fds: (0..count).map(|_| null()).collect(),
            ..Message::default()
        };
        for count in [0, 1, 2, 4, 250] {
            check(streams(count), "three standard streams");
        }
        check(Message { flags: 1, ..streams(3) }, "none belong");
        check(Message { body: vec![0], ..streams(3) }, "left over");
        check(Message { attached: Some(3), ..streams(2) }, "other descriptors than it says");
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
        // A socket is read as far as it is filled, and nobody is waited for.
        check(fork_with_file(stream()), "a length beyond the end");
        let (near, far) = forge::pair(SockType::Stream);
        check(fork_with_file(far), "reading the request");
        drop(near);
        check(fork_with_file(forge::pair(SockType::Datagram).0), "reading the request");
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
fn a_template_keeps_its_streams_while_the_program_runs() {
    within(DEADLINE, || {
        let mut victim = Victim::new();
        let pid = victim.pid;
        let streams = || [0, 1, 2].map(|n| std::fs::read_link(format!("/proc/{pid}/fd/{n}")));
        let before = streams().map(Result::unwrap);
        let fds = (0..3).map(|_| stream()).collect();
        Message { kind: REQUESTS[6], fds, ..Message::default() }.send(&victim.raw).unwrap();
        // It has come to the next by the time it answers that.
        victim.lie(Message { kind: 77, ..Message::default() });
        assert_eq!(streams().map(Result::unwrap), before);
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
            let fork = forge::fork(victim.id(), steps, "answer", far.into());
            let flags = if steps.is_empty() { 0 } else { forge::DETACHED };
            Message { flags, ..fork }.send(&victim.raw).unwrap();
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
        victim.owner_dies();
        kill(pid, Signal::SIGCONT).unwrap();
        assert_eq!(said(detached), "here");
        eventually(DEADLINE, "it has ended", || !runs(pid.as_raw() as u32));
    });
}
