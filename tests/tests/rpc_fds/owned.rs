//! Who owns a descriptor, and when it is closed, whatever becomes of the call: seen by the
//! end of a pipe of which both processes have had the other end, while both live on.

use std::time::Duration;

use offshoot::{Context, Error, Fd, Process, Rpc};
use offshoot_tests::marked::{touch, watched};
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize, Serializer};

/// With a descriptor, and then something that cannot be written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Unwritable(Option<Fd>, Option<Refuses>);

#[derive(Debug, Deserialize)]
pub(super) struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not this"))
    }
}

/// Can be written, and read if it is not sour.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "(Option<Fd>, bool)", into = "(Option<Fd>, bool)")]
#[derive(Clone, Debug, Default)]
pub(super) struct Unreadable(Option<Fd>, bool);

impl From<Unreadable> for (Option<Fd>, bool) {
    fn from(it: Unreadable) -> Self {
        (it.0, it.1)
    }
}

impl TryFrom<(Option<Fd>, bool)> for Unreadable {
    type Error = &'static str;

    fn try_from((fd, sour): (Option<Fd>, bool)) -> Result<Self, &'static str> {
        if sour { Err("it is sour") } else { Ok(Unreadable(fd, sour)) }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Do {
    /// Closes the first, and waits until all copies of the second are closed elsewhere.
    Hold(Fd, Fd),
    Touch(Vec<Fd>),
    Back(Fd),
    Large(Fd),
    Event(Fd),
    Panic(Fd),
    Write(Unwritable),
    Unwritable(Fd),
    Read(Unreadable),
    Unreadable(Fd),
    Bytes(Vec<u8>),
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Done(pub(super) Option<Fd>, Vec<u8>, Unwritable, Unreadable);

#[offshoot::worker]
pub(super) fn act(cx: &Context<Fd>, what: Do) -> Done {
    let mut done = Done::default();
    match what {
        Do::Hold(started, gate) => {
            drop(started);
            let mut gate = std::fs::File::from(gate.into_owned().unwrap());
            std::io::Read::read_to_end(&mut gate, &mut Vec::new()).unwrap();
        }
        Do::Touch(fds) => fds.iter().for_each(touch),
        Do::Back(fd) => done.0 = Some(fd),
        Do::Large(fd) => (done.0, done.1) = (Some(fd), vec![0; 1000]),
        Do::Event(fd) => cx.event(&fd),
        Do::Panic(_fd) => panic!("as it was told to"),
        Do::Unwritable(fd) => done.2 = Unwritable(Some(fd), Some(Refuses)),
        Do::Unreadable(fd) => done.3 = Unreadable(Some(fd), true),
        Do::Write(_) | Do::Read(_) | Do::Bytes(_) => {}
    }
    done
}

pub(super) type Worker = Rpc<Do, Done, Fd>;

pub(super) fn worker() -> Worker {
    Process::new().unwrap().rpc(act).keep_after_panic(true).max_reply(900).start().unwrap()
}

/// The worker goes on as if nothing had been.
pub(super) fn goes_on(rpc: &Worker) {
    let (fd, closed) = watched();
    rpc.call(Do::Touch(vec![fd])).wait().unwrap();
    assert_eq!(closed.closed(), "x");
}

/// Has the worker wait until the sender is dropped.
pub(super) fn hold(rpc: &Worker) -> std::io::PipeWriter {
    let (started, has_started) = watched();
    let (gate, open) = std::io::pipe().unwrap();
    drop(rpc.call(Do::Hold(started, gate.into())));
    // Nobody waits for a call: sent it is all the same.
    assert_eq!(has_started.closed(), "");
    open
}

pub(super) fn test(body: impl FnOnce() + Send + 'static) {
    within(DEADLINE, body);
}

#[test]
fn cancelled_before_it_was_sent() {
    test(|| {
        let rpc = worker();
        let gate = hold(&rpc);
        // More than the socket takes, and less than may be queued.
        let large = rpc.call(Do::Bytes(vec![1; 900_000]));
        // One message, and several.
        for count in [1, 300, 600] {
            let (fd, closed) = watched();
            let call = rpc.call(Do::Touch(vec![fd; count]));
            call.cancel();
            assert_eq!(closed.closed(), "", "while the worker is busy");
            assert!(call.wait().unwrap_err().is_cancelled());
        }
        drop(gate);
        large.wait().unwrap();
        goes_on(&rpc);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn cancelled_while_it_waits_in_the_worker() {
    test(|| {
        let rpc = worker();
        let gate = hold(&rpc);
        let (fd, closed) = watched();
        let call = rpc.call(Do::Touch(vec![fd]));
        call.cancel();
        assert!(call.wait().unwrap_err().is_cancelled());
        drop(gate);
        assert_eq!(closed.closed(), "", "it was skipped");
        goes_on(&rpc);
    });
}

#[test]
fn timed_out() {
    test(|| {
        let rpc = Process::new().unwrap().rpc(act).timeout(Duration::from_millis(100));
        let rpc = rpc.start().unwrap();
        let (_gate, (fd, closed), (other, other_closed)) = (hold(&rpc), watched(), watched());
        let calls = [rpc.call(Do::Touch(vec![fd; 300])), rpc.call(Do::Back(other))];
        for call in calls {
            let error = call.wait().unwrap_err();
            assert!(error.is_timeout() || error.was_started() == Some(false), "{error}");
        }
        assert_eq!(closed.closed() + &other_closed.closed(), "");
    });
}

fn fails_with(make: fn(Fd) -> Do, is_right: fn(&Error) -> bool) {
    test(move || {
        let rpc = worker();
        for _ in 0..3 {
            let (fd, closed) = watched();
            let error = rpc.call(make(fd)).wait().unwrap_err();
            assert!(is_right(&error), "{error}");
            assert_eq!(closed.closed(), "");
        }
        goes_on(&rpc);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn arguments_that_cannot_be_written() {
    fails_with(|fd| Do::Write(Unwritable(Some(fd), Some(Refuses))), Error::is_codec);
}

#[test]
fn arguments_that_cannot_be_read() {
    fails_with(|fd| Do::Read(Unreadable(Some(fd), true)), Error::is_codec);
}

#[test]
fn a_result_that_cannot_be_written() {
    fails_with(Do::Unwritable, Error::is_codec);
}

#[test]
fn a_result_that_cannot_be_read() {
    fails_with(Do::Unreadable, Error::is_codec);
}

#[test]
fn a_result_that_is_too_large() {
    fails_with(Do::Large, Error::is_codec);
}

#[test]
fn a_function_that_panics() {
    fails_with(Do::Panic, Error::is_panic);
}

#[test]
fn a_worker_that_is_killed() {
    test(|| {
        let rpc = worker();
        let _gate = hold(&rpc);
        let (fd, closed) = watched();
        // More than the socket takes.
        let calls: Vec<_> =
            (0..900).map(|n| rpc.call(Do::Touch(vec![fd.clone(); n % 3]))).collect();
        drop(fd);
        rpc.kill().unwrap();
        for call in calls {
            let error = call.wait().unwrap_err();
            assert!(error.is_disconnected() && error.was_started() == Some(false), "{error}");
        }
        assert_eq!(closed.closed(), "");
    });
}

#[test]
fn a_handle_that_is_dropped() {
    test(|| {
        let rpc = worker();
        let (gate, (fd, closed)) = (hold(&rpc), watched());
        (0..500).for_each(|_| drop(rpc.call(Do::Touch(vec![fd.clone(); 2]))));
        drop((fd, rpc));
        drop(gate);
        assert_eq!(closed.closed(), "x".repeat(1000), "all that was called is done");
    });
}
