//! Workers that die or stop, at every point of a call: each call is told what became of
//! it.

use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use offshoot::{Context, Error, Process, Rpc};
use offshoot_tests::lying::stay;
use offshoot_tests::{DEADLINE, runs, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Do {
    Return(u32),
    Exit(i32),
    Raise(i32),
    /// Uses so much memory, then exits.
    Use(usize),
    /// Says so, and stays.
    Stay,
}

#[offshoot::worker]
fn obey(cx: &Context<()>, what: Do) -> u32 {
    match what {
        Do::Return(n) => n,
        Do::Exit(status) => std::process::exit(status),
        // Again: what Rust does about SIGSEGV only is to let it be raised once more.
        Do::Raise(signal) => loop {
            raise(Signal::try_from(signal).unwrap()).unwrap();
        },
        Do::Use(bytes) => {
            std::hint::black_box(vec![7u8; bytes]);
            std::process::exit(0);
        }
        Do::Stay => {
            cx.event(&());
            stay()
        }
    }
}

fn start() -> (Rpc<Do, u32, ()>, mpsc::Receiver<()>) {
    let (sender, events) = mpsc::channel();
    let tell = move |()| sender.send(()).unwrap();
    (Process::new().unwrap().rpc(obey).on_event(tell).start().unwrap(), events)
}

/// The first of the calls was running, and the others were not started.
fn all_lost(calls: Vec<offshoot::Call<u32>>, check: impl Fn(&Error)) {
    for (index, call) in calls.into_iter().enumerate() {
        let error = call.wait().unwrap_err();
        assert!(error.is_disconnected(), "{error}");
        assert_eq!(error.was_started(), Some(index == 0), "{error}");
        check(&error);
    }
}

#[test]
fn the_status_of_a_dead_worker_is_told() {
    within(DEADLINE, || {
        for code in [0, 1, 42, 255] {
            let (rpc, _) = start();
            assert_eq!(rpc.call(Do::Return(5)).wait().unwrap(), 5);
            let calls = [Do::Exit(code), Do::Return(1), Do::Return(2)].map(|d| rpc.call(d)).into();
            all_lost(calls, |e| {
                assert_eq!(e.exit_status().unwrap().code(), Some(code));
                assert!(e.peak_memory().is_some_and(|bytes| bytes > 100 << 10), "{e:?}");
            });
            let end = rpc.finish().unwrap_err();
            assert_eq!(end.exit_status().unwrap().code(), Some(code));
        }
    });
}

#[test]
fn the_signal_that_a_worker_died_of_is_told() {
    within(DEADLINE, || {
        use libc::{SIGABRT, SIGBUS, SIGKILL, SIGSEGV, SIGTERM, SIGUSR1};
        for signal in [SIGKILL, SIGTERM, SIGUSR1, SIGABRT, SIGSEGV, SIGBUS] {
            let (rpc, _) = start();
            let calls = [Do::Raise(signal), Do::Return(1)].map(|d| rpc.call(d)).into();
            all_lost(calls, |e| assert_eq!(e.exit_status().unwrap().signal(), Some(signal)));
            let late = rpc.call(Do::Return(1)).wait().unwrap_err();
            assert_eq!(late.exit_status().unwrap().signal(), Some(signal));
            assert_eq!(late.was_started(), Some(false));
        }
    });
}

#[test]
fn the_memory_of_a_dead_worker_is_told() {
    within(DEADLINE, || {
        let (rpc, _) = start();
        let error = rpc.call(Do::Use(64 << 20)).wait().unwrap_err();
        let peak = error.peak_memory().unwrap();
        assert!((64 << 20..128 << 20).contains(&peak), "{peak} bytes");
    });
}

#[test]
fn a_worker_is_killed_while_it_is_idle() {
    within(DEADLINE, || {
        let (sender, errors) = mpsc::channel();
        let rpc =
            Process::new().unwrap().rpc(obey).on_error(move |e| sender.send(e).unwrap()).start();
        let rpc = rpc.unwrap();
        assert_eq!(rpc.call(Do::Return(5)).wait().unwrap(), 5);
        rpc.kill().unwrap();
        let error = errors.recv().unwrap();
        assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGKILL));
        assert_eq!(error.was_started(), None, "it concerns no call");
        assert_eq!(rpc.call(Do::Return(5)).wait().unwrap_err().was_started(), Some(false));
        assert!(errors.recv().is_err(), "it is told once");
        // No call was lost.
        assert_eq!(rpc.finish().unwrap().signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn a_worker_is_gone_before_it_is_called() {
    within(DEADLINE, || {
        for _ in 0..50 {
            let rpc = Process::new().unwrap().rpc(obey).start().unwrap();
            // Nobody reads, so that nobody knows.
            rpc.kill().unwrap();
            let pid = rpc.id().unwrap();
            offshoot_tests::eventually(DEADLINE, "it is gone", || !runs(pid));
            let calls: Vec<_> = (0..3).map(|n| rpc.call(Do::Return(n))).collect();
            for call in calls {
                let error = call.wait().unwrap_err();
                assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGKILL));
                assert_eq!(error.was_started(), Some(false), "none was sent: {error}");
            }
        }
    });
}

#[test]
fn a_worker_is_killed_while_it_runs() {
    within(DEADLINE, || {
        let (rpc, events) = start();
        let calls = [Do::Stay, Do::Return(1), Do::Return(2)].map(|d| rpc.call(d)).into();
        events.recv().unwrap();
        rpc.kill().unwrap();
        all_lost(calls, |e| {
            assert_eq!(e.exit_status().unwrap().signal(), Some(libc::SIGKILL));
        });
    });
}

fn signal(rpc: &Rpc<Do, u32, ()>, signal: Signal) {
    kill(Pid::from_raw(rpc.id().unwrap() as i32), signal).unwrap();
}

#[test]
fn a_stopped_worker_is_waited_for_as_long_as_one_likes() {
    within(DEADLINE, || {
        let (rpc, _) = start();
        assert_eq!(rpc.call(Do::Return(5)).wait().unwrap(), 5);
        signal(&rpc, Signal::SIGSTOP);
        let mut call = rpc.call(Do::Return(7));
        assert_eq!(call.wait_timeout(Duration::from_millis(20)).unwrap(), None);
        assert_eq!(call.wait_timeout(Duration::ZERO).unwrap(), None);
        signal(&rpc, Signal::SIGCONT);
        assert_eq!(call.wait().unwrap(), 7);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_stopped_worker_is_killed_when_a_call_is_out_of_time() {
    within(DEADLINE, || {
        let time = Duration::from_secs(2);
        let rpc = Process::new().unwrap().rpc(obey).timeout(time).start().unwrap();
        assert_eq!(rpc.call(Do::Return(7)).wait().unwrap(), 7);
        signal(&rpc, Signal::SIGSTOP);
        let pid = rpc.id().unwrap();
        let begin = Instant::now();
        let [first, second] = [1, 2].map(|n| rpc.call(Do::Return(n)));
        assert!(first.wait().unwrap_err().is_timeout());
        assert!(begin.elapsed() >= time);
        let error = second.wait().unwrap_err();
        assert!(error.is_timeout() || error.was_started() == Some(false), "{error}");
        let late = rpc.call(Do::Return(7)).wait().unwrap_err();
        assert!(late.is_disconnected() && late.to_string().contains("timed out"), "{late}");
        assert!(!runs(pid));
    });
}

#[test]
fn an_answer_that_came_in_time_is_not_late() {
    within(DEADLINE, || {
        let time = Duration::from_secs(2);
        let rpc = Process::new().unwrap().rpc(obey).timeout(time).start().unwrap();
        let calls: Vec<_> = (0..20).map(|n| rpc.call(Do::Return(n))).collect();
        // Nobody reads while the time runs out; the last is answered by then.
        std::thread::sleep(time + time / 4);
        for (n, call) in (0..).zip(calls) {
            assert_eq!(call.wait().unwrap(), n);
        }
        assert!(rpc.finish().unwrap().success());
    });
}
