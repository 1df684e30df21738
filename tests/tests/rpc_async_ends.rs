//! How calls of workers with `Done` end otherwise: unanswered, cancelled, by a panic, by
//! the end of the worker or of its parent.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use offshoot::{Call, Context, Done, Error, Fd, Process, Rpc, RunArgs};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::program::{Watched, signal_of};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Answers once its gate is open, by a thread of its own.
#[offshoot::worker]
fn behind(cx: &Context<u64>, done: Done<u64>, gate: Fd, n: u64) {
    cx.event(&n);
    thread::spawn(move || {
        pass(gate);
        done.complete(n);
    });
}

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
            assert!(error.panic_location().unwrap().contains("rpc_async_ends.rs"), "{error}");
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

/// Works until nobody wants the result any more, then says so on the pipe.
#[offshoot::worker]
fn until_cancelled(cx: &Context<u32>, done: Done<u32>, pipe: Fd) {
    cx.event(&std::process::id());
    thread::spawn(move || {
        while !done.is_cancelled() {
            thread::sleep(Duration::from_millis(1));
        }
        let mut pipe = PipeWriter::from(pipe.into_owned().unwrap());
        pipe.write_all(b"c").unwrap();
        done.complete(0);
    });
}

fn new_pipe() -> (PipeReader, Fd) {
    let (reader, writer) = pipe().unwrap();
    (reader, writer.into())
}

/// What is written to a pipe until all its writers are gone.
fn rest_of(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_cancelled_call_can_stop_and_the_process_goes_on() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(until_cancelled).max_in_flight(1).start().unwrap();
        let started = rpc.events();
        let mut pids = Vec::new();
        for _ in 0..3 {
            let (noticed, pipe) = new_pipe();
            let call = rpc.call(pipe);
            pids.push(started.recv().unwrap());
            call.cancel();
            assert!(call.wait().unwrap_err().is_cancelled());
            assert_eq!(rest_of(noticed), "c");
        }
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_call_that_takes_too_long_is_cancelled() {
    within(DEADLINE, || {
        let process = Process::new().unwrap();
        let rpc = process.rpc(until_cancelled).timeout(Duration::from_millis(20)).start().unwrap();
        let (noticed, pipe) = new_pipe();
        assert!(rpc.call(pipe).wait().unwrap_err().is_timeout());
        // It may not even have begun.
        assert!(["", "c"].contains(&&*rest_of(noticed)));
        assert!(rpc.finish().unwrap().success());
    });
}

/// Holds up the thread that reads.
#[offshoot::worker]
fn blocks(done: Done<()>, gate: Fd) {
    pass(gate);
    done.complete(());
}

#[test]
fn a_call_is_given_up_in_time_though_the_worker_is_blocked() {
    within(DEADLINE, || {
        let process = Process::new().unwrap();
        let rpc = process.rpc(blocks).timeout(Duration::from_millis(20)).start().unwrap();
        let (gate, passer) = Gate::new();
        assert!(rpc.call(passer).wait().unwrap_err().is_timeout());
        drop(gate);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn cancelling_reaches_a_worker_that_was_told_to_finish() {
    within(DEADLINE, || {
        let (noticed, pipe) = new_pipe();
        let call = offshoot::spawn(until_cancelled, pipe).unwrap();
        call.cancel();
        assert!(call.wait().unwrap_err().is_cancelled());
        // Whether it had been sent or not: nobody holds the pipe for long.
        assert!(["", "c"].contains(&&*rest_of(noticed)));

        let rpc = Process::new().unwrap().rpc(until_cancelled).start().unwrap();
        let started = rpc.events();
        let (noticed, pipe) = new_pipe();
        let call = rpc.call(pipe);
        started.recv().unwrap();
        drop(rpc);
        call.cancel();
        assert_eq!(rest_of(noticed), "c");
    });
}

#[test]
fn a_call_that_waits_for_its_turn_is_skipped_when_cancelled() {
    within(DEADLINE, || {
        let process = Process::new().unwrap();
        let rpc = process.rpc(behind).max_concurrent(1).max_in_flight(4).start().unwrap();
        let started = rpc.events();
        let (gate, passer) = Gate::new();
        let mut calls: Vec<_> = (0..4).map(|n| rpc.call((passer.clone(), n))).collect();
        assert_eq!(started.recv().unwrap(), 0);
        calls[1].cancel();
        calls[2].cancel();
        // There is room for these only because the two have been answered.
        calls.extend((4..6).map(|n| rpc.call((passer.clone(), n))));
        drop(gate);
        let results: Vec<_> = calls.into_iter().map(Call::wait).collect();
        rpc.finish().unwrap();
        assert_eq!(started.iter().collect::<Vec<_>>(), [3, 4, 5], "the others never began");
        assert!([0, 3, 4, 5].into_iter().all(|n| matches!(results[n], Ok(m) if m == n as u64)));
        assert!(results[1..3].iter().all(|r| r.as_ref().is_err_and(Error::is_cancelled)));
    });
}

#[test]
fn all_open_calls_learn_of_the_workers_death() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(behind).start().unwrap();
        let started = rpc.events();
        let (gate, passer) = Gate::new();
        let calls: Vec<_> = (0..10).map(|n| rpc.call((passer.clone(), n))).collect();
        assert_eq!(started.iter().take(10).count(), 10);
        rpc.kill().unwrap();
        for call in calls {
            let error = call.wait().unwrap_err();
            assert!(error.is_disconnected(), "{error}");
            assert_eq!(signal_of(error.exit_status().unwrap()), Some(libc::SIGKILL));
            assert_eq!(error.was_started(), Some(true));
        }
        let error = rpc.call((passer, 10)).wait().unwrap_err();
        assert_eq!(error.was_started(), Some(false), "{error}");
        drop(gate);
    });
}

#[test]
fn a_dropped_rpc_has_its_open_calls_done() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(behind).start().unwrap();
        let (gate, passer) = Gate::new();
        let calls: Vec<_> = (0..10).map(|n| (n, rpc.call((passer.clone(), n)))).collect();
        drop((rpc, passer));
        drop(gate);
        for (n, call) in calls {
            assert_eq!(call.wait().unwrap(), n);
        }
    });
}

/// Writes to the pipe, once its gate is open.
#[offshoot::worker]
fn write_behind(done: Done<()>, gate: Fd, pipe: Fd, text: String) {
    thread::spawn(move || {
        pass(gate);
        let mut pipe = PipeWriter::from(pipe.into_owned().unwrap());
        pipe.write_all(text.as_bytes()).unwrap();
        done.complete(());
    });
}

/// The same, one after the other.
#[offshoot::worker]
fn write_in_order(gate: Fd, pipe: Fd, text: String) {
    pass(gate);
    let mut pipe = PipeWriter::from(pipe.into_owned().unwrap());
    pipe.write_all(text.as_bytes()).unwrap();
}

#[test]
fn calls_that_nobody_waits_for_are_done_all_the_same() {
    const CALLS: usize = 5;
    const LENGTH: usize = 10;
    within(DEADLINE, || {
        for calls_first in [true, false] {
            for is_sync in [true, false] {
                let (gate, passer) = Gate::new();
                let (reader, pipe) = new_pipe();
                macro_rules! call_and_drop {
                    ($worker:expr) => {{
                        let rpc = Process::new().unwrap().rpc($worker).start().unwrap();
                        // So few that they are sent at once.
                        let args = (passer, pipe, "x".repeat(LENGTH));
                        let calls: Vec<_> = (0..CALLS).map(|_| rpc.call(args.clone())).collect();
                        drop(args);
                        if calls_first {
                            drop(calls);
                            drop(rpc);
                        } else {
                            drop(rpc);
                            drop(calls);
                        }
                    }};
                }
                if is_sync {
                    call_and_drop!(write_in_order);
                } else {
                    call_and_drop!(write_behind);
                }
                drop(gate);
                assert_eq!(rest_of(reader).len(), CALLS * LENGTH, "{calls_first} {is_sync}");
            }
        }
    });
}

static LINGER: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();

fn keep_fds(mut queued: RunArgs) {
    let gate = queued.fds.remove(0);
    LINGER.get_or_init(|| (gate, queued.fds.remove(0)));
}

/// Prolongs the process until its gate is open.
fn linger() {
    let (gate, pipe) = LINGER.get().unwrap();
    let mut pipe = PipeWriter::from(pipe.try_clone().unwrap());
    pipe.write_all(b"lingers").unwrap();
    pass(gate);
    pipe.write_all(b", ends").unwrap();
}

#[offshoot::worker(init = keep_fds, done = linger)]
fn then_lingers(_state: &mut (), done: Done<u8>, gate: Fd) {
    thread::spawn(move || {
        pass(gate);
        done.complete(1);
    });
}

#[offshoot::worker(init = keep_fds, done = linger)]
fn then_lingers_in_order(_state: &mut (), gate: Fd) -> u8 {
    pass(gate);
    1
}

/// A process for one of these, its gate, and what it writes.
fn new_lingering() -> (Process, Gate, PipeReader) {
    let (gate, passer) = Gate::new();
    let (reader, pipe) = new_pipe();
    let fds = [passer, pipe].map(|fd| fd.into_owned().unwrap());
    (fds.into_iter().fold(Process::new().unwrap(), Process::send_fd), gate, reader)
}

#[test]
fn a_done_function_prolongs_the_process() {
    within(DEADLINE, || {
        for is_sync in [true, false] {
            let (process, gate, mut reader) = new_lingering();
            let (_, open) = Gate::new();
            let call = if is_sync {
                process.rpc(then_lingers_in_order).start().unwrap().call(open)
            } else {
                process.rpc(then_lingers).start().unwrap().call(open)
            };
            assert_eq!(call.wait().unwrap(), 1);
            let mut said = [0; 7];
            reader.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"lingers", "the last call is done, and so is the Rpc");
            drop(gate);
            assert_eq!(rest_of(reader), ", ends");
        }
    });
}

#[test]
fn a_worker_ends_well_though_nobody_waits_for_its_calls() {
    within(DEADLINE, || {
        for is_sync in [true, false] {
            let (process, end, reader) = new_lingering();
            let (gate, passer) = Gate::new();
            if is_sync {
                let rpc = process.rpc(then_lingers_in_order).start().unwrap();
                drop(rpc.call(passer));
            } else {
                let rpc = process.rpc(then_lingers).start().unwrap();
                drop(rpc.call(passer));
            }
            drop(gate);
            drop(end);
            assert_eq!(rest_of(reader), "lingers, ends", "{is_sync}");
        }
    });
}

/// Makes a worker of its own, which is not to die with it, and never returns.
#[offshoot::worker]
fn has_a_worker(cx: &Context<u32>, gate: Fd, pipe: Fd) {
    let rpc = Process::new().unwrap().detach().rpc(writes_after).start().unwrap();
    let started = rpc.events();
    let _call = rpc.call((gate, pipe));
    cx.event(&started.recv().unwrap());
    loop {
        thread::park();
    }
}

static PIPE: OnceLock<OwnedFd> = OnceLock::new();

fn say_so() {
    let pipe = PIPE.get().unwrap().try_clone().unwrap();
    PipeWriter::from(pipe).write_all(b"all is done").unwrap();
}

#[offshoot::worker(done = say_so)]
fn writes_after(cx: &Context<u32>, done: Done<Vec<u8>>, gate: Fd, pipe: Fd) {
    PIPE.get_or_init(|| pipe.into_owned().unwrap());
    cx.event(&std::process::id());
    thread::spawn(move || {
        pass(gate);
        // Much more than anybody would take in unread.
        done.complete(vec![0; 1 << 20]);
    });
}

#[test]
fn it_is_completed_though_the_parent_is_gone() {
    within(DEADLINE, || {
        let (gate, passer) = Gate::new();
        let (reader, pipe) = new_pipe();
        let rpc = Process::new().unwrap().rpc(has_a_worker).start().unwrap();
        let grandchild = rpc.events();
        let call = rpc.call((passer, pipe));
        let grandchild = Watched::new(grandchild.recv().unwrap());
        rpc.kill().unwrap();
        assert!(call.wait().unwrap_err().is_disconnected());
        assert!(!grandchild.gone_within(Duration::ZERO), "its call is still open");
        drop(gate);
        assert_eq!(rest_of(reader), "all is done");
        assert!(grandchild.gone_within(DEADLINE));
    });
}

#[offshoot::worker]
fn fibonacci(done: Done<(u64, u32)>, n: u64) {
    thread::spawn(move || {
        if n < 2 {
            return done.complete((n, 1));
        }
        let rpc = Process::new().unwrap().rpc(self::fibonacci).start().unwrap();
        let (one, two) = (rpc.call(n - 1), rpc.call(n - 2));
        let ((a, p), (b, q)) = (one.wait().unwrap(), two.wait().unwrap());
        rpc.finish().unwrap();
        done.complete((a + b, p + q));
    });
}

#[test]
fn a_worker_has_workers_of_its_own() {
    within(DEADLINE, || {
        let answer = offshoot::spawn(fibonacci, 4).unwrap().wait().unwrap();
        assert_eq!(answer, (3, 5), "the fourth is the sum of three ones and two zeros");
    });
}
