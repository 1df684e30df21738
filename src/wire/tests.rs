//! The protocol against itself (round trips) and against noise, from a fixed seed.

use super::*;
use crate::sys::{memfd, queued};
use random::{Rng, body, spoil};

mod random;

fn inline(bytes: &[u8]) -> Steps {
    let datagram = [&[0; HEADER], bytes].concat();
    let len = datagram.len();
    Steps::inline(datagram.into(), HEADER..len)
}

fn in_file(bytes: &[u8]) -> Steps {
    Steps::in_file(memfd::sealed(&[bytes]).unwrap()).unwrap()
}

fn in_socket(bytes: &[u8]) -> Steps {
    Steps::in_file(queued::fill(&[bytes]).unwrap()).unwrap()
}

fn assert_reads(mut steps: Steps, all: &[Next<'_>]) {
    for expected in all {
        assert_eq!(steps.next().as_ref(), Ok(expected));
    }
    assert!(steps.next().is_err(), "nothing comes after the end");
}

/// Reads to the end or to the first error; how many things were read, and the bytes
/// that they hold.
fn read_out(mut steps: Steps) -> (usize, usize) {
    let (mut count, mut held) = (0, 0);
    while let Ok(next) = steps.next() {
        count += 1;
        held += match &next {
            Next::Step(Step::Arg(b) | Step::EnvRemove(b) | Step::Directory(b)) => b.len(),
            Next::Step(Step::Setup { name, args }) => {
                name.len() + args.iter().map(|a| a.len()).sum::<usize>()
            }
            Next::Step(Step::Env { key, value }) => key.len() + value.len(),
            Next::Step(Step::Title(text)) => text.len(),
            Next::End(End::Run(b)) => b.len(),
            Next::End(End::Exec(args)) => args.iter().map(|a| a.len()).sum(),
            _ => 0,
        };
    }
    (count, held)
}

#[test]
fn what_is_sent_is_what_is_read() {
    let mut rng = Rng(1);
    for _ in 0..20_000 {
        let (bytes, all) = body(&mut rng);
        assert_reads(inline(&bytes), &all);
        let mut peeked = inline(&bytes);
        assert_eq!(peeked.peek().unwrap(), all);
        assert_reads(peeked, &all);
    }
    for _ in 0..300 {
        let (bytes, all) = body(&mut rng);
        assert_reads(in_file(&bytes), &all);
        assert_reads(in_socket(&bytes), &all);
    }
}

#[test]
fn spoiled_bodies_are_read_no_further_than_they_go() {
    let mut rng = Rng(2);
    for round in 0..50_000 {
        let (mut bytes, _) = body(&mut rng);
        for _ in 0..1 + rng.below(3) {
            spoil(&mut rng, &mut bytes);
        }
        let found = read_out(inline(&bytes));
        assert!(found.0 <= bytes.len() && found.1 <= bytes.len(), "{bytes:?}");
        if round % 100 == 0 {
            assert_eq!(read_out(in_file(&bytes)), found, "{bytes:?}");
            assert_eq!(read_out(in_socket(&bytes)), found, "{bytes:?}");
        }
        let _ = inline(&bytes).peek();
    }
}

#[test]
fn noise_is_no_body() {
    let mut rng = Rng(3);
    for _ in 0..50_000 {
        let bytes = rng.bytes(200);
        let found = read_out(inline(&bytes));
        assert!(found.0 <= bytes.len() && found.1 <= bytes.len(), "{bytes:?}");
    }
}

#[test]
fn a_count_of_items_is_held_against_what_is_there() {
    for count in [1, 2, 1 << 20, u32::MAX] {
        let exec = [&[34][..], &count.to_le_bytes(), &[0; 7]].concat();
        assert_eq!(inline(&exec).next(), Err(Malformed("a length beyond the end")));
    }
}

#[test]
fn a_body_file_is_sealed_and_of_a_size_that_is_allowed() {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let sparse = |size, seals| {
        let file = memfd_create(c"sparse", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING);
        let file = std::fs::File::from(file.unwrap());
        file.set_len(size).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        Steps::in_file(file.into())
    };
    let sealed = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    assert_eq!(read_out(sparse(MAX_BODY, sealed).unwrap()), (0, 0));
    let Err(error) = sparse(MAX_BODY + 1, sealed) else { panic!("it is too large") };
    assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
    for missing in [SealFlag::F_SEAL_SHRINK, SealFlag::F_SEAL_GROW, SealFlag::F_SEAL_WRITE] {
        assert!(sparse(1, sealed - missing).is_err(), "without {missing:?} it may change");
    }
}

#[test]
fn a_body_in_a_socket_is_there_or_is_none() {
    use nix::sys::socket::{setsockopt, sockopt::SndBufForce};
    let errno = |fd: OwnedFd| Steps::in_file(fd).err().and_then(|e| e.raw_os_error());
    // Nobody waits for the rest of it.
    let (near, far) = fdpass::stream_pair().unwrap();
    fdpass::send_bytes(&near, b"begun", false).unwrap();
    assert_eq!(errno(far), Some(libc::EAGAIN));
    // More than is ever put there, by one who may have larger queues.
    let (near, far) = fdpass::stream_pair().unwrap();
    match setsockopt(&near, SndBufForce, &(4 * queued::MOST)) {
        Ok(()) => {
            let mut left = queued::MOST + 1;
            while left > 0 {
                left -= fdpass::send_bytes(&near, &vec![0; left], false).unwrap();
            }
            assert_eq!(errno(far), Some(libc::E2BIG));
        }
        Err(e) => println!("skipped: a socket with more in it: {e}"),
    }
    // A socket of messages is none; nor is there room for everything.
    assert!(errno(fdpass::control_pair().unwrap().1).is_some());
    assert!(queued::fill(&[&vec![0; queued::MOST], b"x"]).is_err());
}

#[test]
fn replies_survive_and_spoiled_ones_are_refused_or_read() {
    let mut rng = Rng(4);
    for _ in 0..50_000 {
        let (id, reply) = (rng.any(), rng.reply());
        let mut bytes = reply.encode(id).to_vec();
        assert!(bytes.len() <= MAX_REPLY);
        let read = Reply::parse(&bytes, &mut Vec::new()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", (id, &reply)));
        spoil(&mut rng, &mut bytes);
        let _ = Reply::parse(&bytes, &mut Vec::new());
        let noise = rng.bytes(80);
        let _ = Reply::parse(&noise, &mut Vec::new());
    }
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let message = "é".repeat(MAX_TEXT);
    let failure = Failure::new(Stage::Setup, 0, format_args!("x{message}"));
    let bytes = Reply::Failed(failure).encode(1).to_vec();
    assert!(bytes.len() <= MAX_REPLY);
    let Ok((1, Reply::Failed(read))) = Reply::parse(&bytes, &mut Vec::new()) else {
        panic!("it is a failure")
    };
    assert_eq!(read.message, format!("x{}", "é".repeat((MAX_TEXT - 1) / 2)));
}

#[test]
fn descriptors_go_with_their_reply_alone() {
    let some = || vec![memfd::sealed(&[b"x"]).unwrap()];
    let reply = Reply::PidfdIs(some().remove(0));
    let bytes = reply.encode(9).to_vec();
    assert!(reply.fd().is_some());
    assert!(matches!(Reply::parse(&bytes, &mut some()), Ok((9, Reply::PidfdIs(_)))));
    assert!(Reply::parse(&bytes, &mut Vec::new()).is_err());
    assert!(Reply::parse(&Reply::Done(0).encode(9), &mut some()).is_err());
}

#[test]
fn requests_that_lie_are_refused() {
    let mut rng = Rng(5);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let kind = [FORK, SIGNAL, PIDFD, PID, PRIVILEGED, RETIRE, STREAMS, 0, 99][rng.below(9)];
        let attached = [0, 1, 2, 3, 4, 253][rng.below(6)];
        let queued = [0, 1, 2, 300, MAX_QUEUED_FDS, MAX_QUEUED_FDS + 1][rng.below(6)];
        let flags = if rng.below(9) == 0 { rng.any() as u8 } else { rng.below(16) as u8 };
        let mut bytes = header(kind, flags, attached, queued, rng.any()).to_vec();
        let len = [0, 8, 12, 40][rng.below(4)];
        bytes.extend((0..len).map(|_| rng.any() as u8));
        let came = if rng.below(4) == 0 { rng.below(254) } else { attached };
        let Ok(request) = Request::parse(&bytes, came) else { continue };
        accepted += 1;
        assert_eq!(came, attached, "{bytes:?}");
        match request {
            Request::Fork(fork) => {
                let own = 1 + usize::from(fork.in_file) + usize::from(fork.in_parcel);
                assert!(attached >= own && queued <= MAX_QUEUED_FDS);
                assert_eq!(attached - own + fork.beyond, queued);
                assert_eq!(fork.beyond > 0, fork.in_parcel);
                assert!(!fork.in_file || len == 0);
                let (tell_ready, detached) = (flags & TELL_READY != 0, flags & DETACHED != 0);
                assert_eq!(fork.how, How { tell_ready, detached });
            }
            Request::Signal { .. } => assert_eq!((attached, flags, len), (0, 0, 12)),
            Request::Pid { .. } | Request::Pidfd { .. } => {
                assert_eq!((attached, flags, len), (0, 0, 8));
            }
            Request::Streams => assert_eq!((attached, flags, len), (3, 0, 0)),
            Request::Retire => assert_eq!((attached, flags, len), (0, 0, 0)),
            Request::Privileged { .. } => assert_eq!((attached, flags), (0, 0)),
        }
    }
    assert!(accepted > 1_000, "{accepted} were right by chance: too few to show anything");
    for len in 0..HEADER {
        assert!(Request::parse(&[RETIRE; HEADER][..len], 0).is_err());
    }
}
