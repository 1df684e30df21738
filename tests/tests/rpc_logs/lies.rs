//! Workers that write log frames of their own: what is not in the protocol ends them, and
//! harms nobody else.

use std::io::Write;
use std::os::fd::BorrowedFd;

use offshoot::Process;
use offshoot_tests::logged::Logged;
use offshoot_tests::{DEADLINE, open_fds, within};
use tracing::{Level, info};

use super::{forwarded, message};

/// The worker's stream: the first descriptor behind the three that everybody has.
fn stream() -> std::fs::File {
    let fd = open_fds().into_iter().find(|fd| *fd > 2).unwrap();
    // SAFETY: it is open, and stays so: nobody else runs in this process.
    #[allow(unsafe_code)]
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fd.try_clone_to_owned().unwrap().into()
}

/// Writes frames of kind `Log`.
#[offshoot::worker]
fn writes(bodies: Vec<Vec<u8>>) -> bool {
    info!("the truth");
    let mut stream = stream();
    for body in bodies {
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.extend([0, 0, 0, 0, 9, 0, 0, 0]);
        frame.extend(body);
        stream.write_all(&frame).unwrap();
    }
    true
}

// Behind what was logged before: callsite 0, an event's.
const EVENT_PLACE: &[u8] = &[1, 0, 2, 0, 0, 0, 0, 0, 0];
const SPAN_PLACE: &[u8] = &[1, 1, 2, 0, 0, 0, 0, 0, 0];
const SPAN: &[u8] = &[2, 1, 1, 0, 0];
const EVENT: &[u8] = &[7, 1, 0, 0];

#[test]
fn what_could_be_true_is_believed() {
    within(DEADLINE, || {
        let close: &[u8] = &[6, 1];
        for bodies in [
            vec![EVENT_PLACE, EVENT, EVENT],
            vec![SPAN_PLACE, SPAN, close, SPAN],
            // In a span of its own, in which it is entered.
            vec![SPAN_PLACE, SPAN, EVENT_PLACE, &[7, 2, 1, 1, 0], &[5, 1], close],
        ] {
            let logged = Logged::up_to(Level::INFO);
            let rpc = forwarded(Process::new().unwrap().rpc(writes), &logged);
            assert!(rpc.call(bodies.iter().map(|b| b.to_vec()).collect()).wait().unwrap());
            assert!(rpc.finish().unwrap().success());
            assert!(logged.lines().len() > 2);
            assert!(logged.lines().iter().all(|l| !l.what.starts_with("wrong")));
            assert_eq!(logged.open_spans(), 0);
        }
    });
}

#[test]
fn what_cannot_be_true_is_a_breach_of_protocol() {
    within(DEADLINE, || {
        let lies: [&[&[u8]]; 17] = [
            &[&[]],
            &[&[200]],
            &[&[9]],
            // Something behind a good record.
            &[&[0, 1, 99]],
            // A level that there is not; a text that is longer than the frame; not UTF-8.
            &[&[1, 0, 5, 0, 0, 0, 0, 0, 0]],
            &[&[1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0]],
            &[&[1, 0, 2, 1, 0xff, 0, 0, 0, 0, 0]],
            // So many fields that nobody should make room for them.
            &[&[1, 0, 2, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]],
            // Of no callsite, or one of the other kind.
            &[SPAN],
            &[EVENT],
            &[EVENT_PLACE, SPAN],
            &[SPAN_PLACE, EVENT],
            // A value of a field that there is not.
            &[EVENT_PLACE, &[7, 1, 0, 1, 0, 5, 1]],
            // Of no span.
            &[EVENT_PLACE, &[7, 1, 1, 9, 0]],
            &[SPAN_PLACE, SPAN, &[6, 1], &[6, 1]],
            &[SPAN_PLACE, SPAN, &[4, 1, 2]],
            &[SPAN_PLACE, SPAN, SPAN],
        ];
        for bodies in lies {
            let logged = Logged::up_to(Level::INFO);
            let rpc = forwarded(Process::new().unwrap().rpc(writes), &logged);
            let error = rpc.call(bodies.iter().map(|b| b.to_vec()).collect()).wait().unwrap_err();
            assert!(error.is_protocol(), "{bodies:?}: {error}");
            assert!(rpc.finish().unwrap_err().is_protocol());
            assert_eq!(message(&logged.events()[0]), "the truth");
            assert_eq!(logged.open_spans(), 0, "{bodies:?}");
        }
    });
}

#[test]
fn logs_that_nobody_asked_for_are_one_too() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(writes).start().unwrap();
        let error = rpc.call(vec![vec![0, 1]]).wait().unwrap_err();
        assert!(error.is_protocol() && error.to_string().contains("nobody asked for"), "{error}");
    });
}

#[test]
fn no_more_spans_may_be_open_than_a_worker_would_tell_of() {
    within(DEADLINE, || {
        let span = |id: u32| {
            let id = [id as u8 | 0x80, (id >> 7) as u8 | 0x80, (id >> 14) as u8];
            [&[2][..], &id, &[1, 0, 0]].concat()
        };
        let spans = |count| std::iter::once(SPAN_PLACE.to_vec()).chain((1..=count).map(span));
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(writes), &logged);
        assert!(rpc.call(spans(1 << 14).collect()).wait().unwrap());
        assert_eq!(logged.open_spans(), 1 << 14);
        let error = rpc.call(vec![span((1 << 14) + 1)]).wait().unwrap_err();
        assert!(error.is_protocol(), "{error}");
        let _ = rpc.finish();
        assert_eq!(logged.open_spans(), 0);
    });
}
