//! Calls of workers with `Done` that come to no good end: unanswered, with a panic, with a
//! result that cannot be written.

use std::process::ExitStatus;
use std::thread;

use offshoot::{Done, Process, Rpc};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Answers with 1, or ends as it is told.
#[offshoot::worker]
fn ends(done: Done<u8>, how: String) {
    match &*how {
        "well" => done.complete(1),
        "dropped" => drop(done),
        "dropped by a thread" => drop(thread::spawn(move || drop(done))),
        "panic of a thread" => drop(thread::spawn(move || {
            let _done = done;
            panic!("a thread of its own");
        })),
        "caught" => {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                let _done = done;
                panic!("it is caught");
            }));
            assert!(panicked.is_err());
        }
        "panic" => panic!("no {}", how.len()),
        "panic after" => {
            done.complete(1);
            panic!("it is answered")
        }
        "panic with it elsewhere" => {
            // Never completed, never dropped.
            std::mem::forget(done);
            panic!("it is elsewhere");
        }
        other => panic!("what is {other}?"),
    }
}

#[test]
fn a_call_whose_done_is_dropped_is_unanswered() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(ends).start().unwrap();
        for how in ["dropped", "dropped by a thread", "panic of a thread", "caught"] {
            let error = rpc.call(how.into()).wait().unwrap_err();
            assert!(error.is_unanswered(), "{how}: {error}");
            assert_eq!(rpc.call("well".into()).wait().unwrap(), 1, "after {how}");
        }
        assert!(rpc.finish().unwrap().success());
    });
}

/// How a worker ends by itself, before or after it is told to.
fn end_of<A, R: Send + 'static, E>(rpc: Rpc<A, R, E>) -> ExitStatus {
    rpc.finish().unwrap_or_else(|error| error.exit_status().unwrap())
}

#[test]
fn a_panic_ends_the_worker() {
    within(DEADLINE, || {
        for how in ["panic", "panic with it elsewhere"] {
            let rpc = Process::new().unwrap().rpc(ends).start().unwrap();
            assert_eq!(rpc.call("well".into()).wait().unwrap(), 1);
            let error = rpc.call(how.into()).wait().unwrap_err();
            assert!(error.is_panic(), "{how}: {error}");
            assert!(error.panic_location().unwrap().contains("rpc_async_failures.rs"), "{error}");
            assert_eq!(end_of(rpc).code(), Some(101), "{how}");
        }
        let rpc = Process::new().unwrap().rpc(ends).start().unwrap();
        assert_eq!(rpc.call("panic after".into()).wait().unwrap(), 1);
        let later = rpc.call("well".into()).wait().unwrap_err();
        assert_eq!(later.exit_status().unwrap().code(), Some(101));
    });
}

#[test]
fn a_panic_is_survived_if_so_wanted() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(ends).keep_after_panic(true).start().unwrap();
        for how in ["panic", "panic with it elsewhere"] {
            let error = rpc.call(how.into()).wait().unwrap_err();
            assert!(error.is_panic(), "{how}: {error}");
        }
        assert_eq!(rpc.call("panic".into()).wait().unwrap_err().panic_message(), Some("no 5"));
        assert_eq!(rpc.call("panic after".into()).wait().unwrap(), 1);
        assert_eq!(rpc.call("well".into()).wait().unwrap(), 1);
        // One `Done` is still somewhere: it cannot end by itself.
        rpc.kill().unwrap();
    });
}

/// A result that cannot be written.
#[derive(serde::Deserialize)]
struct Sour(u8);

impl serde::Serialize for Sour {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => serializer.serialize_u8(0),
            1 => Err(serde::ser::Error::custom("it is sour")),
            _ => panic!("very sour"),
        }
    }
}

#[offshoot::worker]
fn squeeze(done: Done<Sour>, elsewhere: bool, how: u8) {
    if elsewhere {
        thread::spawn(move || done.complete(Sour(how)));
    } else {
        done.complete(Sour(how));
    }
}

#[test]
fn a_result_that_cannot_be_written() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(squeeze).start().unwrap();
        for elsewhere in [true, false] {
            assert_eq!(rpc.call((elsewhere, 0)).wait().unwrap().0, 0);
            let error = rpc.call((elsewhere, 1)).wait().map(|_| ()).unwrap_err();
            assert!(error.is_codec(), "{error}");
            let error = rpc.call((elsewhere, 2)).wait().map(|_| ()).unwrap_err();
            assert_eq!(error.panic_message(), Some("very sour"), "{error}");
        }
        assert_eq!(end_of(rpc).code(), Some(101), "the last was in the function");
    });
}
