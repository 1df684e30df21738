//! What each kind of error is told to, and what the process does then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use offshoot::{Context, Error, Octets, Process, Rpc, RunArgs};
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

#[offshoot::worker]
fn many(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

#[offshoot::worker]
fn long_story(cx: &Context<Vec<u8>>, length: usize) -> u32 {
    match length {
        0 => 0,
        1 => {
            cx.event(&vec![1; 1000]);
            1
        }
        length => panic!("{}", "ä".repeat(length)),
    }
}

#[derive(Clone, Serialize, Deserialize)]
enum Wish {
    Fine,
    Err(String),
    Panic,
}

fn wish(_: RunArgs, wish: Wish) -> Result<u64, String> {
    match wish {
        Wish::Fine => Ok(1),
        Wish::Err(why) => Err(why),
        Wish::Panic => panic!("not in the mood"),
    }
}

#[offshoot::worker(init = wish)]
fn wished(state: &mut u64) -> u64 {
    *state
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
        let calls = [1, 13, 2, 3].map(|n| rpc.call(n));
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
fn a_result_over_the_limit_is_thrown_away() {
    within(DEADLINE, || {
        let rpc = process().rpc(many).max_reply(1002).start().unwrap();
        // Two bytes are the length.
        assert_eq!(rpc.call(1000).wait().unwrap().len(), 1000);
        for bytes in [1001, 10 << 20] {
            let error = rpc.call(bytes).wait().unwrap_err();
            assert!(error.is_codec(), "{error}");
            assert!(error.to_string().contains("1002"), "{error}");
        }
        assert_eq!(rpc.call(3).wait().unwrap(), [7; 3]);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn what_is_told_of_a_failure_may_be_longer_than_a_result() {
    within(DEADLINE, || {
        let (sender, errors) = mpsc::channel();
        let rpc = process()
            .rpc(long_story)
            .max_reply(1)
            .keep_after_panic(true)
            .on_event(|_| panic!("no event is so small"))
            .on_error(move |e| sender.send(e).unwrap())
            .start()
            .unwrap();
        assert_eq!(rpc.call(1).wait().unwrap(), 1);
        assert!(errors.recv().unwrap().is_codec());
        let error = rpc.call(500).wait().unwrap_err();
        assert_eq!(error.panic_message(), Some(&*"ä".repeat(500)));
        // So long that it is cut.
        let error = rpc.call(5 << 20).wait().unwrap_err();
        let told = error.panic_message().unwrap();
        assert!(told.starts_with("ää") && told.len() < 2 << 20, "{}", told.len());
        assert_eq!(rpc.call(0).wait().unwrap(), 0);
        assert!(rpc.finish().unwrap().success());
        assert!(errors.recv().is_err());
    });
}

/// Every call gets the message, and so does `on_error`, once.
fn fails_in_init(wish: Wish, message: &str) {
    let (sender, errors) = mpsc::channel();
    let tell = move |error: Error| sender.send(error).unwrap();
    let rpc = process().rpc(wished).init(wish).on_error(tell).start().unwrap();
    let calls: Vec<_> = (0..5).map(|_| rpc.call(())).collect();
    for call in calls {
        let error = call.wait().unwrap_err();
        assert!(error.is_init() && error.to_string().contains(message), "{error}");
    }
    let late = rpc.call(()).wait().unwrap_err();
    assert!(late.is_init(), "{late}");
    let end = rpc.finish().unwrap_err();
    assert!(end.is_init() && end.to_string().contains(message), "{end}");
    assert!(errors.recv().unwrap().is_init());
    assert!(errors.recv().is_err(), "it is told once");
}

#[test]
fn a_failed_init_is_told_to_all_calls() {
    within(DEADLINE, || {
        fails_in_init(Wish::Err("the well is dry".to_owned()), "the well is dry");
        fails_in_init(Wish::Err("w".repeat(100_000)), "wwww");
        fails_in_init(Wish::Panic, "not in the mood");
        let rpc = process().rpc(wished).init(Wish::Fine).start().unwrap();
        assert_eq!(rpc.call(()).wait().unwrap(), 1);
    });
}

#[test]
fn a_failed_init_is_told_whatever_the_limit_of_results_is() {
    within(DEADLINE, || {
        let wish = Wish::Err("the well is dry".to_owned());
        let rpc = process().rpc(wished).init(wish).max_reply(1).start().unwrap();
        let error = rpc.call(()).wait().unwrap_err();
        assert!(error.is_init(), "{error}");
    });
}

#[test]
fn init_arguments_are_checked_before_anything_is_started() {
    let missing = process().rpc(wished).start().unwrap_err();
    assert!(missing.is_init() && missing.to_string().contains("Wish"), "{missing}");
    let wrong = process().rpc(wished).init(5u8).start().unwrap_err();
    let said = wrong.to_string();
    assert!(wrong.is_init() && said.contains("Wish") && said.contains("u8"), "{wrong}");
    let unwanted = process().rpc(careful).init(5u8).start().unwrap_err();
    assert!(unwanted.is_init(), "{unwanted}");
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

/// Takes no call off its stream until it is let go.
fn stopped(max: usize) -> Rpc<u32, u32> {
    let rpc = process().rpc(careful).max_in_flight(max).start().unwrap();
    // One that is stopped before its first instruction could not hear of its end.
    assert_eq!(rpc.call(1).wait().unwrap(), 1);
    signal(&rpc, nix::sys::signal::Signal::SIGSTOP);
    rpc
}

fn signal(rpc: &Rpc<u32, u32>, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(rpc.id().unwrap() as i32);
    nix::sys::signal::kill(pid, signal).unwrap();
}

#[test]
fn a_full_connection_gives_the_arguments_back() {
    within(DEADLINE, || {
        let rpc = stopped(3);
        let calls: Vec<_> = (0..3).map(|n| rpc.try_call(n).unwrap()).collect();
        for _ in 0..2 {
            let refused = rpc.try_call(7).unwrap_err();
            assert!(refused.is_full(), "{refused}");
            assert_eq!(refused.args, 7);
            assert!(Error::from(refused).is_full());
        }
        signal(&rpc, nix::sys::signal::Signal::SIGCONT);
        for (n, call) in (0..).zip(calls) {
            assert_eq!(call.wait().unwrap(), n);
        }
        assert_eq!(rpc.try_call(7).unwrap().wait().unwrap(), 7);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_call_that_waits_for_room_gets_it_or_the_error() {
    within(DEADLINE, || {
        for dies in [false, true] {
            let rpc = stopped(1);
            let first = rpc.call(1);
            std::thread::scope(|s| {
                let second = s.spawn(|| rpc.call(2).wait());
                let third = s.spawn(|| {
                    offshoot_tests::block_on::block_on(async { rpc.call_async(3).await.await })
                });
                if dies {
                    rpc.kill().unwrap();
                    assert!(first.wait().unwrap_err().is_disconnected());
                    for thread in [second, third] {
                        let error = thread.join().unwrap().unwrap_err();
                        assert!(error.is_disconnected(), "{error}");
                    }
                } else {
                    signal(&rpc, nix::sys::signal::Signal::SIGCONT);
                    assert_eq!(first.wait().unwrap(), 1);
                    assert_eq!(second.join().unwrap().unwrap(), 2);
                    assert_eq!(third.join().unwrap().unwrap(), 3);
                }
            });
        }
    });
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
