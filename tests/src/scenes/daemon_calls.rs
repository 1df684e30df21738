//! Programs that become daemons with workers that they have called.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use offshoot::{Call, Context, Done, Fd, Process, Rpc};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::program::Watched;
use offshoot_tests::{DEADLINE, eventually};

use super::daemon::become_daemon;
use super::{Scene, at, hold};

pub(super) const SCENES: &[Scene] = &[
    ("daemon_waits", daemon_waits),
    ("daemon_hears", daemon_hears),
    ("daemon_lets_go", daemon_lets_go),
];

/// Makes an event of its argument, and returns it; waits before, if it gets a gate.
#[offshoot::worker]
fn repeat(cx: &Context<u32>, n: u32, gate: Option<Fd>) -> u32 {
    gate.inspect(|gate| pass(gate));
    cx.event(&n);
    n
}

/// The same, asynchronous.
#[offshoot::worker]
fn repeat_later(done: Done<u32>, n: u32, gate: Option<Fd>) {
    std::thread::spawn(move || {
        gate.inspect(|gate| pass(gate));
        done.complete(n);
    });
}

type Args = (u32, Option<Fd>);
type Repeat = Rpc<Args, u32, u32>;

fn process() -> Process {
    Process::new().expect("processes can be made")
}

fn plain() -> Repeat {
    let rpc = process().rpc(repeat).start().expect("it runs");
    assert_eq!(rpc.call((1, None)).wait().expect("it is done"), 1);
    rpc
}

/// One that the hub reads, and what it hears.
fn heard() -> (Repeat, Receiver<u32>) {
    let (tell, heard) = channel();
    let on_event = move |n| tell.send(n).expect("it is listened to");
    let rpc = process().rpc(repeat).on_event(on_event).start().expect("it runs");
    assert_eq!(rpc.call((1, None)).wait().expect("it is done"), 1);
    assert_eq!(heard.recv_timeout(DEADLINE), Ok(1));
    (rpc, heard)
}

fn ends(rpc: Repeat) {
    assert!(rpc.finish().expect("nothing was lost").success());
}

/// Calls that are open, some answered already; the first of them waits for the gate.
fn open_calls(rpc: &Repeat) -> (Gate, Vec<Call<u32>>) {
    let (gate, gated) = Gate::new();
    let first = rpc.call((0, Some(gated)));
    let others = (1..100).map(|n| rpc.call((n, None)));
    let calls = std::iter::once(first).chain(others).collect();
    (gate, calls)
}

fn are_answered(calls: Vec<Call<u32>>) {
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait().expect("it is answered"), n as u32);
    }
}

/// Waits until all other threads have slept for some time: the hub has nothing to do, and
/// holds no lock.
fn is_quiet() {
    let asleep = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
        let states = tasks.flatten().filter_map(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
            let own = task.file_name().to_str()? == std::process::id().to_string();
            (!own).then(|| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')))
        });
        states.into_iter().all(|asleep| asleep)
    };
    let mut since = Instant::now();
    eventually(DEADLINE, "the hub rests", || {
        if !asleep() {
            since = Instant::now();
        }
        since.elapsed() > Duration::from_millis(50)
    });
}

/// The daemon waits in person: for calls that were open, and for new ones.
fn daemon_waits(_: &[String]) {
    let (sync, fresh) = (plain(), plain());
    let (gate, calls) = open_calls(&sync);
    let later = process().rpc(repeat_later).start().expect("it runs");
    let (later_gate, gated) = Gate::new();
    let open = [later.call((7, Some(gated))), later.call((8, None))];
    let (_stuck_gate, gated) = Gate::new();
    let stuck = fresh.call((2, Some(gated)));
    is_quiet();
    become_daemon(|| {
        // The first thing that it does, while the program that was started may be ending.
        stuck.cancel();
        assert!(stuck.wait().expect_err("it is cancelled").is_cancelled());
        drop((gate, later_gate));
        are_answered(calls);
        for (call, n) in open.into_iter().zip([7, 8]) {
            assert_eq!(call.wait().expect("it is answered"), n);
        }
        assert_eq!(sync.call((3, None)).wait().expect("it is done"), 3);
        let (gate, calls) = open_calls(&sync);
        drop(gate);
        are_answered(calls);
        ends(sync);
        assert!(later.finish().expect("nothing was lost").success());
        at("daemon");
        hold();
    });
}

/// The hub of the daemon does what that of the program that was started did.
fn daemon_hears(_: &[String]) {
    let (rpc, heard) = heard();
    let (gate, mut calls) = open_calls(&rpc);
    let (slow_gate, gated) = Gate::new();
    let slow = process().rpc(repeat).timeout(Duration::from_secs(2)).start().expect("it runs");
    let overdue = slow.call((5, Some(gated)));
    is_quiet();
    become_daemon(|| {
        let last = calls.pop().expect("there are some").into_receiver();
        drop(gate);
        let answer = last.recv_timeout(DEADLINE).expect("it is answered");
        assert_eq!(answer.expect("it is done"), 99);
        for n in 0..100 {
            assert_eq!(heard.recv_timeout(DEADLINE), Ok(n), "none is lost, none comes twice");
        }
        are_answered(calls);
        let (tell, told) = channel();
        rpc.call_then((4, None), move |n| tell.send(n).expect("it is listened to"));
        let answer = told.recv_timeout(DEADLINE).expect("it is called back");
        assert_eq!(answer.expect("it is done"), 4);
        assert_eq!(heard.recv_timeout(DEADLINE), Ok(4));
        let answer = overdue.into_receiver().recv_timeout(DEADLINE).expect("it ends");
        assert!(answer.expect_err("its time is up").is_timeout());
        drop(slow_gate);
        ends(rpc);
        at("daemon");
        hold();
    });
}

/// What the daemon does first is to let go of a worker, which does all that was called.
fn daemon_lets_go(args: &[String]) {
    let rpc = plain();
    let worker = Watched::new(rpc.id().expect("it runs"));
    let (gate, calls) = open_calls(&rpc);
    is_quiet();
    let finishes = args == ["finish"];
    become_daemon(|| {
        drop(gate);
        if finishes {
            ends(rpc);
        } else {
            drop(rpc);
        }
        are_answered(calls);
        assert!(worker.gone_within(DEADLINE));
        at("daemon");
        hold();
    });
}
