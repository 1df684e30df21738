//! What each kind of error is told to, and what the process does then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot::{Error, Octets, Process};
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

#[offshoot::worker]
fn careful(n: u32) -> u32 {
    assert!(n != 13, "{n} brings bad luck");
    n
}

#[offshoot::worker]
fn checked(n: u32) -> Result<u32, String> {
    n.checked_sub(1).ok_or_else(|| "there is nothing below 0".to_owned())
}

/// Whether this is the worker, not the test.
static IN_WORKER: AtomicBool = AtomicBool::new(false);

#[derive(Serialize, Deserialize)]
struct Sore(u32);

impl Drop for Sore {
    fn drop(&mut self) {
        assert!(!IN_WORKER.load(Ordering::Relaxed) || self.0 != 13, "it hurts");
    }
}

#[offshoot::worker]
fn sore(n: u32) -> Sore {
    IN_WORKER.store(true, Ordering::Relaxed);
    Sore(n)
}

fn process() -> Process {
    Process::new().unwrap()
}

fn is_panic_of(error: &Error, message: &str) {
    assert!(error.is_panic(), "{error}");
    assert_eq!(error.panic_message(), Some(message));
    let place = error.panic_location().unwrap();
    assert!(place.contains("rpc_errors.rs:"), "{place}");
    assert!(error.to_string().contains(message), "{error}");
    assert_eq!(error.was_started(), None);
}

#[test]
fn a_panic_is_told_and_ends_the_process() {
    within(DEADLINE, || {
        let (sender, errors) = mpsc::channel();
        let tell = move |error: Error| sender.send(error).unwrap();
        let rpc = process().rpc(careful).on_error(tell).start().unwrap();
        assert_eq!(rpc.call(1).wait().unwrap(), 1);
        // All are made before it hears of one.
        let pid = Pid::from_raw(rpc.id().unwrap() as i32);
        kill(pid, Signal::SIGSTOP).unwrap();
        let calls = [1, 13, 2, 3].map(|n| rpc.call(n));
        kill(pid, Signal::SIGCONT).unwrap();
        let mut outcomes = calls.map(|c| c.wait()).into_iter();
        assert_eq!(outcomes.next().unwrap().unwrap(), 1);
        is_panic_of(&outcomes.next().unwrap().unwrap_err(), "13 brings bad luck");
        for behind in outcomes {
            let error = behind.unwrap_err();
            assert!(error.is_disconnected() && !error.is_panic(), "{error}");
            assert_eq!(error.exit_status().unwrap().code(), Some(101));
            assert_eq!(error.was_started(), Some(false));
        }
        let late = rpc.call(1).wait().unwrap_err();
        assert!(late.is_disconnected(), "{late}");
        assert_eq!(late.was_started(), Some(false));
        let end = rpc.finish().unwrap_err();
        assert_eq!(end.exit_status().unwrap().code(), Some(101));
        assert_eq!(errors.recv().unwrap().exit_status().unwrap().code(), Some(101));
        assert!(errors.recv().is_err(), "nothing comes after the end");
    });
}

#[test]
fn a_lonely_panic_leaves_the_status() {
    within(DEADLINE, || {
        let rpc = process().rpc(careful).start().unwrap();
        is_panic_of(&rpc.call(13).wait().unwrap_err(), "13 brings bad luck");
        assert_eq!(rpc.finish().unwrap().code(), Some(101));
    });
}

#[test]
fn a_worker_may_be_kept_after_a_panic() {
    within(DEADLINE, || {
        let rpc = process().rpc(careful).keep_after_panic(true).start().unwrap();
        let pid = rpc.id().unwrap();
        for _ in 0..20 {
            let calls = [1, 13, 2, 13].map(|n| rpc.call(n));
            let [one, bad, two, worse] = calls.map(|c| c.wait());
            assert_eq!((one.unwrap(), two.unwrap()), (1, 2));
            is_panic_of(&bad.unwrap_err(), "13 brings bad luck");
            is_panic_of(&worse.unwrap_err(), "13 brings bad luck");
        }
        assert_eq!(rpc.id().unwrap(), pid);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_panic_of_a_results_drop_does_not_answer_twice() {
    within(DEADLINE, || {
        let rpc = process().rpc(sore).keep_after_panic(true).start().unwrap();
        for n in [1, 13, 2, 13, 3] {
            assert_eq!(rpc.call(n).wait().unwrap().0, n);
        }
        assert!(rpc.finish().unwrap().success());
        let rpc = process().rpc(sore).start().unwrap();
        assert_eq!(rpc.call(13).wait().unwrap().0, 13);
        assert_eq!(rpc.finish().unwrap().code(), Some(101));
    });
}

#[test]
fn an_err_of_the_function_is_a_result() {
    within(DEADLINE, || {
        let rpc = process().rpc(checked).start().unwrap();
        assert_eq!(rpc.call(5).wait().unwrap(), Ok(4));
        assert_eq!(rpc.call(0).wait().unwrap(), Err("there is nothing below 0".to_owned()));
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_codec_that_the_worker_does_not_know_is_refused() {
    let error = process().rpc(careful).codec(Octets).start().unwrap_err();
    assert!(error.is_unsupported(), "{error}");
    assert!(error.to_string().contains("codec = "), "it says what to do: {error}");
}

#[test]
fn a_worker_is_not_started_by_its_name_alone() {
    // Nobody would speak with it.
    let error = process().run_named(careful.name()).unwrap_err();
    assert!(error.is_unknown_name(), "{error}");
    assert!(error.to_string().contains("`Process::rpc`"), "it says what to do: {error}");
}

#[test]
fn a_result_is_taken_once() {
    within(DEADLINE, || {
        let rpc = process().rpc(careful).start().unwrap();
        let mut call = rpc.call(1);
        assert_eq!(call.wait_timeout(DEADLINE).unwrap(), Some(1));
        assert!(call.wait_timeout(Duration::ZERO).is_err());
        assert!(call.try_wait().is_err());
    });
}
