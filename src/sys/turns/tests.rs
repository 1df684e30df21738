//! Turns and forks: those of a gate of their own, as other tests have turns too.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::*;

#[test]
fn a_fork_waits_for_the_turns_that_have_begun_and_holds_up_those_to_come() {
    let gate = Arc::new(Gate::new());
    for _ in 0..1_000 {
        gate.enter();
        let forks = Arc::clone(&gate);
        let (is_closed, closed) = channel();
        let fork = thread::spawn(move || {
            assert!(forks.close());
            is_closed.send(()).unwrap();
            let over = forks.wait_for_turns(0);
            // Nobody is at work now.
            assert_eq!(forks.turns.load(Ordering::SeqCst), 0);
            forks.open();
            over
        });
        closed.recv().unwrap();
        let begins = Arc::clone(&gate);
        let next = thread::spawn(move || {
            begins.enter();
            begins.leave();
        });
        gate.leave();
        assert!(fork.join().unwrap());
        next.join().unwrap();
    }
}

#[test]
fn a_fork_waits_in_vain_once_for_a_turn_that_does_not_end() {
    let gate = Gate::new();
    gate.enter();
    assert!(gate.close());
    // So often would take an hour.
    assert!((0..2_000).all(|_| !gate.wait_for_turns(0)));
    assert!(gate.wait_for_turns(1), "it is its own");
    assert!(!gate.close(), "one at a time");
    gate.open();
    // Another one is waited for, and then only the first is left.
    let waits_for_another = |left| {
        gate.enter();
        thread::scope(|s| {
            assert!(gate.close());
            s.spawn(|| gate.leave());
            assert_eq!(gate.wait_for_turns(0), left == 0);
            assert_eq!(gate.turns.load(Ordering::SeqCst), left);
            gate.open();
        });
    };
    waits_for_another(1);
    gate.leave();
    waits_for_another(0);
}

#[test]
fn one_that_sleeps_is_not_at_work() {
    let turn = Turn::begin();
    let nested = Turn::begin();
    asleep(|| {
        assert!(!Turn::is_here());
        asleep(|| ());
        drop(Turn::begin());
        assert!(!Turn::is_here());
    });
    drop(nested);
    assert!(Turn::is_here());
    drop(turn);
    assert!(!Turn::is_here());
}

/// The exit status of a fork in which this is run.
fn in_fork(run: impl FnOnce() -> i32) -> i32 {
    // SAFETY: what is run there looks at numbers, and takes no memory.
    match unsafe { fork() }.expect("it can be forked") {
        // SAFETY: it ends the process without a look at its memory. The alarm ends one
        // that hangs.
        ForkResult::Child => unsafe {
            libc::alarm(30);
            libc::_exit(run())
        },
        ForkResult::Parent { child } => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, status)) => status,
            other => panic!("{other:?}"),
        },
    }
}

fn turns() -> i32 {
    GATE.turns.load(Ordering::SeqCst) as i32
}

#[test]
fn in_a_fork_there_are_only_the_turns_of_whoever_forks() {
    respect();
    let (begun, has_begun) = channel();
    let (end, ended) = channel::<()>();
    let worker = thread::spawn(move || {
        let _turn = Turn::begin();
        begun.send(()).unwrap();
        let _ = ended.recv();
    });
    has_begun.recv().unwrap();
    let begins_and_counts = || {
        let turn = Turn::begin();
        let now = turns();
        drop(turn);
        now * 10 + turns()
    };
    assert_eq!(in_fork(begins_and_counts), 10);
    let turn = Turn::begin();
    assert_eq!(in_fork(begins_and_counts), 11);
    drop(turn);
    drop(end);
    worker.join().unwrap();
    // And all can begin again.
    drop(Turn::begin());
}
