//! How workers with `Done` end: with their handles, their calls, their parent, or before
//! their time.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use offshoot::{Context, Done, Fd, Process, RunArgs};
use offshoot_tests::hear::{Gate, behind, new_pipe, pass, rest_of};
use offshoot_tests::program::{Watched, signal_of};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

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
