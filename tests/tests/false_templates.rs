//! A template that lies: the other end of the control socket is played by the test.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use offshoot::{Child, Error, Process, Start};
use offshoot_tests::block_on::block_on;
use offshoot_tests::forge::{self, Message, REPLIES, REQUESTS, Rng};
use offshoot_tests::probe::{alone, assert_own_fds, own_fds};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::entry]
fn answer(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(b"here")
}

const READY: u8 = REPLIES[0];
const FAILED: u8 = REPLIES[1];
const EXITED: u8 = REPLIES[2];
const PID_IS: u8 = REPLIES[3];
const PIDFD_IS: u8 = REPLIES[4];
const DONE: u8 = REPLIES[5];

/// A child of a template that is played by whoever has the socket: it has been told
/// of the child already, under the id that is given back.
fn child() -> (Child, OwnedFd, u64) {
    let (near, far) = forge::control_pair();
    let child = Process::from_fd(near).unwrap().run(answer).unwrap();
    let (request, fds) = forge::receive(&far, true).unwrap();
    assert_eq!((request[0], fds), (REQUESTS[0], 1));
    // The handle of the process is gone, so it is retired.
    assert_eq!(forge::receive(&far, true).unwrap().0[0], REQUESTS[5]);
    (child, far, id_of(&request))
}

fn id_of(datagram: &[u8]) -> u64 {
    u64::from_le_bytes(datagram[8..16].try_into().unwrap())
}

fn reply(kind: u8, id: u64, body: &[u8]) -> Message {
    Message { kind, id, body: body.to_vec(), ..Message::default() }
}

fn some_fd() -> OwnedFd {
    std::io::pipe().unwrap().0.into()
}

fn exited(id: u64) -> Message {
    let mut body = [4242u32.to_le_bytes(), (7u32 << 8).to_le_bytes()].concat();
    body.extend([0; 24]);
    reply(EXITED, id, &body)
}

fn with_fd(mut message: Message) -> Message {
    message.fds.push(some_fd());
    message
}

/// What a liar may say where the exit of process `id` is awaited, or the answer to
/// question `id`.
fn lies(id: u64) -> Vec<(&'static str, Message)> {
    vec![
        ("no such kind", reply(200, id, &[])),
        ("a request", reply(1, id, &[32])),
        ("ready, and more", reply(READY, id, &[1])),
        ("an exit cut short", reply(EXITED, id, &[0; 31])),
        ("an exit and more", reply(EXITED, id, &[0; 33])),
        ("a pid cut short", reply(PID_IS, id, &[0; 3])),
        ("a failure without a stage", reply(FAILED, id, &[])),
        ("a failure at no stage", reply(FAILED, id, &[99, 0, 0, 0, 0])),
        ("a failure without a number", reply(FAILED, id, &[0, 0, 0])),
        ("a descriptor that is missing", reply(PIDFD_IS, id, &[])),
        ("a descriptor with an exit", with_fd(exited(id))),
        ("a descriptor with an answer", with_fd(reply(DONE, id, &[0; 4]))),
        ("two descriptors", with_fd(with_fd(reply(PIDFD_IS, id, &[])))),
        ("too long", reply(FAILED, id, &[0; 20_000])),
    ]
}

/// Replies that are such, but to another question than process `id` is.
fn misplaced(id: u64) -> Vec<(&'static str, Message)> {
    vec![
        ("done", reply(DONE, id, &[0; 4])),
        ("a pid", reply(PID_IS, id, &[1, 0, 0, 0])),
        ("a descriptor", with_fd(reply(PIDFD_IS, id, &[]))),
    ]
}

type Ask = fn(&Child) -> Result<(), Error>;

/// Every way to learn of the end of a child.
const ENDS: [Ask; 6] = [
    |c| c.wait().map(drop),
    |c| c.wait_timeout(DEADLINE).map(|s| assert!(s.is_some(), "it is no timeout")),
    |c| loop {
        if let Some(status) = c.try_wait().transpose() {
            break status.map(drop);
        }
        thread::yield_now();
    },
    |c| c.usage().map(drop),
    |c| block_on(c.exited()).map(drop),
    |c| c.exited_receiver().recv().expect("there is a message").map(drop),
];

/// Every question about a child that runs.
const QUESTIONS: [Ask; 4] =
    [|c| c.id().map(drop), |c| c.signal(10), |c| c.kill(), |c| c.pidfd().map(drop)];

#[test]
fn a_lie_instead_of_an_exit_is_a_protocol_error_everywhere() {
    within(DEADLINE, || {
        let _alone = alone();
        // The hub's descriptors are there from now on.
        drop(child().0.exited_receiver());
        let before = own_fds();
        for ask in ENDS {
            for which in 0..lies(0).len() + misplaced(0).len() {
                let (child, far, id) = child();
                let (what, lie) = lies(id).into_iter().chain(misplaced(id)).nth(which).unwrap();
                lie.send(&far).unwrap();
                let error = ask(&child).unwrap_err();
                assert!(error.is_protocol(), "{what}: {error:?}");
                // What is known now stays so, for every other call.
                for ask in ENDS.iter().chain(&QUESTIONS) {
                    let error = ask(&child).unwrap_err();
                    assert!(error.is_protocol(), "{what}, later: {error:?}");
                }
                // And the liar is not listened to any longer.
                assert_eq!(forge::receive(&far, true), None);
            }
        }
        assert_own_fds(before);
    });
}

/// Plays the template for one question, which is answered with what `lie` makes of
/// its id.
fn asked(ask: Ask, lie: impl FnOnce(u64) -> Option<Message> + Send + 'static) -> Result<(), Error> {
    let (child, far, _) = child();
    let player = thread::spawn(move || {
        let (question, _) = forge::receive(&far, true).unwrap();
        if let Some(lie) = lie(id_of(&question)) {
            lie.send(&far).unwrap();
        }
    });
    let learned = ask(&child);
    player.join().unwrap();
    learned
}

#[test]
fn a_lie_instead_of_an_answer_is_a_protocol_error() {
    within(DEADLINE, || {
        let _alone = alone();
        // The hub's descriptors are there from now on.
        drop(child().0.exited_receiver());
        let before = own_fds();
        for ask in QUESTIONS {
            for which in 0..lies(0).len() {
                let error = asked(ask, move |id| Some(lies(id).swap_remove(which).1)).unwrap_err();
                assert!(error.is_protocol(), "{}: {error:?}", lies(0)[which].0);
            }
            for kind in [READY, EXITED] {
                let misplaced = move |id| match kind {
                    READY => reply(READY, id, &[]),
                    _ => exited(id),
                };
                let error = asked(ask, move |id| Some(misplaced(id))).unwrap_err();
                assert!(error.is_protocol(), "{kind}: {error:?}");
            }
            let error = asked(ask, |_| None).unwrap_err();
            assert!(error.is_disconnected(), "silence: {error:?}");
        }
        // An answer, but not to this question.
        for (ask, kind, body) in [
            (QUESTIONS[0], DONE, &[0; 4][..]),
            (QUESTIONS[0], PIDFD_IS, &[]),
            (QUESTIONS[3], DONE, &[0; 4]),
            (QUESTIONS[3], PID_IS, &[1, 0, 0, 0]),
        ] {
            let lie = move |id| match kind {
                PIDFD_IS => with_fd(reply(kind, id, &[])),
                _ => reply(kind, id, body),
            };
            let error = asked(ask, move |id| Some(lie(id))).unwrap_err();
            assert!(error.is_protocol(), "{kind}: {error:?}");
        }
        assert_own_fds(before);
    });
}

#[test]
fn silence_and_then_the_end_is_told_as_such() {
    within(DEADLINE, || {
        for ask in ENDS {
            let (child, far, id) = child();
            // About others, and nothing that ends this one.
            exited(id + 1).send(&far).unwrap();
            reply(DONE, id + 2, &[0; 4]).send(&far).unwrap();
            with_fd(reply(PIDFD_IS, id + 3, &[])).send(&far).unwrap();
            reply(READY, id, &[]).send(&far).unwrap();
            reply(READY, id, &[]).send(&far).unwrap();
            assert_eq!(child.wait_timeout(Duration::from_millis(1)).unwrap(), None);
            drop(far);
            let error = ask(&child).unwrap_err();
            assert!(error.is_disconnected(), "{error:?}");
        }
    });
}

#[test]
fn what_a_template_has_said_is_read_although_it_died_with_something_unread() {
    within(DEADLINE, || {
        let (near, far) = forge::control_pair();
        let child = Process::from_fd(near).unwrap().run(answer).unwrap();
        let (request, _) = forge::receive(&far, true).unwrap();
        exited(id_of(&request)).send(&far).unwrap();
        // The Retire is in there still: the kernel tells that before the reply.
        drop(far);
        assert_eq!(child.wait().unwrap().code(), Some(7));
    });
}

#[test]
fn thousands_of_random_replies_end_in_errors() {
    within(DEADLINE, || {
        let _alone = alone();
        let before = own_fds();
        let mut rng = Rng(7);
        for _ in 0..5_000 {
            let (child, far, id) = child();
            let mut truth = false;
            for _ in 0..1 + rng.below(3) {
                let mut message = reply(*rng.one_of(&REPLIES), id, &[]);
                let len = *rng.one_of(&[0, 1, 3, 4, 5, 8, 31, 32, 33, 200, 5_000]);
                message.body = rng.bytes(len);
                if rng.once_in(4) {
                    message.id = rng.any();
                }
                message.fds = (0..rng.below(3)).map(|_| forge::any_fd(&mut rng)).collect();
                let mut datagram = message.bytes();
                if rng.once_in(4) {
                    let at = rng.below(datagram.len());
                    datagram[at] = rng.any() as u8;
                }
                // By chance it may have said what a template would.
                truth |= datagram[0] == EXITED && datagram.len() == 48;
                truth |= datagram[0] == FAILED && datagram.len() > 20;
                // It may have been let go after the first lie.
                let _ = forge::send(&far, &datagram, &message.fds);
            }
            drop(far);
            match child.wait() {
                Err(e) if e.is_protocol() || e.is_disconnected() => {}
                other => assert!(truth, "{other:?}"),
            }
        }
        assert_own_fds(before);
    });
}
