//! A parent that asks for a lot and reads nothing: its template does not wait for it,
//! and keeps for it whatever its socket has no room for.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;

use offshoot_tests::forge::{self, Message, REPLIES, REQUESTS};
use offshoot_tests::probe::{alone, children_of};
use offshoot_tests::{DEADLINE, eventually, runs, state, within};

use crate::stream;
use crate::victim::Victim;

const MANY: usize = 1_000;
const FAILED: u8 = REPLIES[1];
const EXITED: u8 = REPLIES[2];
const DONE: u8 = REPLIES[5];

/// Has a process made, which runs to its end.
fn answered(victim: &mut Victim) -> u64 {
    let id = victim.id();
    let (mut near, far) = UnixStream::pair().unwrap();
    forge::fork(id, &[], "answer", far.into()).send(&victim.raw).unwrap();
    let mut said = String::new();
    near.read_to_string(&mut said).unwrap();
    assert_eq!(said, "here");
    id
}

/// Asks about a process, by a Signal that is none, or for its descriptor.
fn ask(victim: &mut Victim, kind: u8, process: u64) -> u64 {
    let id = victim.id();
    let signal: &[u8] = if kind == REQUESTS[1] { &[0; 4] } else { &[] };
    let body = [signal, &process.to_le_bytes()].concat();
    Message { kind, id, body, ..Message::default() }.send(&victim.raw).unwrap();
    id
}

/// The next so many replies, which are waited for.
fn read(victim: &Victim, count: usize) -> Vec<(u8, u64, Vec<u8>)> {
    let next = |_| {
        let (bytes, fds) = forge::receive(&victim.raw, true).expect("there is a reply");
        assert_eq!(fds, 0);
        (bytes[0], u64::from_le_bytes(bytes[8..16].try_into().unwrap()), bytes[16..].to_vec())
    };
    (0..count).map(next).collect()
}

#[test]
fn a_parent_that_does_not_read_is_not_waited_for_and_misses_nothing() {
    within(DEADLINE, || {
        let _alone = alone();
        let mut victim = Victim::with_little_room();
        let mut asked = Vec::new();
        for _ in 0..MANY {
            let process = answered(&mut victim);
            asked.push((process, ask(&mut victim, REQUESTS[1], process)));
        }
        let (near, far) = UnixStream::pair().unwrap();
        let stays = victim.id();
        forge::fork(stays, &[], "linger", far.into()).send(&victim.raw).unwrap();
        let pidfd = ask(&mut victim, REQUESTS[2], stays);
        // This one says by itself what is wrong, and waits until it can.
        let fails = victim.id();
        forge::fork(fails, &[], "nobody", stream()).send(&victim.raw).unwrap();
        let last = answered(&mut victim);
        drop(near);

        let all = read(&victim, 2 * MANY + 5);
        let places: BTreeMap<(u8, u64), usize> =
            all.iter().enumerate().map(|(n, (kind, id, _))| ((*kind, *id), n)).collect();
        assert_eq!(places.len(), all.len(), "each is told once");
        let ended = |process| *places.get(&(EXITED, process)).expect("its end is told");
        let answer = |question| {
            let place = *places.get(&(DONE, question)).expect("it is answered");
            (place, i32::from_le_bytes(all[place].2[..].try_into().unwrap()))
        };
        // Whoever is told that there is no such process has been told of its end.
        for (process, question) in &asked {
            match answer(*question) {
                (_, 0) => {}
                (place, errno) => {
                    assert_eq!(errno, libc::ESRCH);
                    assert!(ended(*process) < place);
                }
            }
            let status = &all[ended(*process)].2[4..8];
            assert_eq!(status, [0; 4]);
        }
        let answers: Vec<u64> =
            all.iter().filter(|(kind, ..)| *kind == DONE).map(|(_, id, _)| *id).collect();
        let questions: Vec<u64> = asked.iter().map(|(_, q)| *q).chain([pidfd]).collect();
        assert_eq!(answers, questions, "in the order in which they were asked");
        // A descriptor is not kept until there is room.
        assert_eq!(answer(pidfd).1, libc::EAGAIN);
        let failure = *places.get(&(FAILED, fails)).expect("it has said why");
        assert!(String::from_utf8_lossy(&all[failure].2).contains("no entry"));
        assert!(failure < ended(fails));
        assert!(ended(stays).max(ended(last)) < all.len());
        victim.assert_well();
    });
}

/// While the template is stopped a question comes, and room for its answer: what has
/// been kept longer goes first.
#[test]
fn no_answer_overtakes_what_was_kept() {
    use nix::sys::signal::{Signal, kill};
    within(DEADLINE, || {
        let _alone = alone();
        for question in [REQUESTS[1], REQUESTS[2]] {
            let mut victim = Victim::with_little_room();
            let pid = nix::unistd::Pid::from_raw(victim.pid as i32);
            for _ in 0..50 {
                answered(&mut victim);
            }
            eventually(DEADLINE, "all are reaped", || children_of(victim.pid).is_empty());
            let (_near, far) = UnixStream::pair().unwrap();
            let stays = victim.id();
            forge::fork(stays, &[], "linger", far.into()).send(&victim.raw).unwrap();
            eventually(DEADLINE, "it is there", || !children_of(victim.pid).is_empty());
            eventually(DEADLINE, "all is done", || state(victim.pid) == Some('S'));
            kill(pid, Signal::SIGSTOP).unwrap();
            eventually(DEADLINE, "it is stopped", || state(victim.pid) == Some('T'));
            let question = ask(&mut victim, question, stays);
            let before = victim.replies().len();
            assert!(before < 50, "not all had room");
            kill(pid, Signal::SIGCONT).unwrap();
            let all = read(&victim, 51 - before);
            let (last, others) = all.split_last().unwrap();
            assert!(others.iter().all(|(kind, ..)| *kind == EXITED), "{all:?}");
            assert_eq!((last.0, last.1), (DONE, question));
        }
    });
}

#[test]
fn a_retired_template_keeps_what_a_parent_has_not_read() {
    within(DEADLINE, || {
        let _alone = alone();
        let mut victim = Victim::with_little_room();
        let mut processes: Vec<u64> = (0..100).map(|_| answered(&mut victim)).collect();
        Message { kind: REQUESTS[5], ..Message::default() }.send(&victim.raw).unwrap();
        // It has come to the Retire when it does this.
        processes.push(answered(&mut victim));
        let mut told: Vec<u64> = read(&victim, processes.len())
            .into_iter()
            .map(|(kind, id, _)| {
                assert_eq!(kind, EXITED);
                id
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, processes);
        assert_eq!(forge::receive(&victim.raw, true), None);
        eventually(DEADLINE, "it is gone", || !runs(victim.pid));
    });
}
