//! Worker functions that leave a process behind, a fork of the worker: it has what the worker
//! had, and lives on. The end of the worker is noticed all the same.

use std::os::unix::process::ExitStatusExt;

use nix::unistd::{ForkResult, fork};
use offshoot::{Context, Done, Fd, Process, Rpc};
use offshoot_tests::block_on::block_on;
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::lying::stay;
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Then {
    Return,
    Abort,
    Panic,
    Stay,
}

/// What lives until the gate is opened, as a library's helper might, and what comes then.
fn leave_behind(gate: &Fd, then: Then, unnoticed: bool) -> u32 {
    if unnoticed {
        by_clone(gate)
    } else {
        by_fork(gate)
    }
    match then {
        Then::Return => 5,
        Then::Abort => std::process::abort(),
        Then::Panic => panic!("as it was told"),
        Then::Stay => stay(),
    }
}

#[allow(unsafe_code)]
fn by_fork(gate: &Fd) {
    // SAFETY: the fork only waits, and ends without running what is the worker's.
    if let ForkResult::Child = unsafe { fork() }.unwrap() {
        pass(gate);
        // SAFETY: no memory is named.
        unsafe { libc::_exit(0) }
    }
}

/// So that the C library does not notice.
#[allow(unsafe_code)]
fn by_clone(gate: &Fd) {
    // SAFETY: as above; without a stack of its own it has a copy of this one.
    if unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } == 0 {
        pass(gate);
        // SAFETY: no memory is named.
        unsafe { libc::_exit(0) }
    }
}

type Args = (Fd, Then, bool);

#[offshoot::worker]
fn plain(_cx: &Context<()>, gate: Fd, then: Then, unnoticed: bool) -> u32 {
    leave_behind(&gate, then, unnoticed)
}

#[offshoot::worker]
fn later(_cx: &Context<()>, done: Done<u32>, gate: Fd, then: Then, unnoticed: bool) {
    done.complete(leave_behind(&gate, then, unnoticed));
}

#[offshoot::worker]
async fn task(_cx: Context<()>, gate: Fd, then: Then, unnoticed: bool) -> u32 {
    leave_behind(&gate, then, unnoticed)
}

/// Each kind of worker, and a gate for its helpers, which is shut until it has been tried.
fn each(test: impl Fn(Rpc<Args, u32, ()>, Fd)) {
    let new = || Process::new().unwrap();
    for rpc in [new().rpc(plain).start(), new().rpc(later).start(), new().rpc(task).start()] {
        let (gate, shut) = Gate::new();
        test(rpc.unwrap(), shut);
        drop(gate);
    }
}

#[test]
fn it_ends_when_it_has_done_its_calls() {
    within(DEADLINE, || {
        for unnoticed in [false, true] {
            each(|rpc, shut| {
                assert_eq!(rpc.call((shut, Then::Return, unnoticed)).wait().unwrap(), 5);
                assert!(rpc.finish().unwrap().success());
            });
        }
    });
}

#[test]
fn it_ends_after_a_panic() {
    within(DEADLINE, || {
        for unnoticed in [false, true] {
            each(|rpc, shut| {
                let error = rpc.call((shut, Then::Panic, unnoticed)).wait().unwrap_err();
                assert!(error.is_panic(), "{error}");
                assert!(!rpc.finish().unwrap().success());
            });
        }
    });
}

#[test]
fn it_dies_and_a_thread_waits() {
    within(DEADLINE, || {
        each(|rpc, shut| {
            let error = rpc.call((shut, Then::Abort, false)).wait().unwrap_err();
            assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGABRT), "{error}");
            assert!(rpc.finish().is_err());
        });
    });
}

#[test]
fn it_dies_and_a_task_waits() {
    within(DEADLINE, || {
        for unnoticed in [false, true] {
            each(|rpc, shut| {
                let error = block_on(rpc.call((shut, Then::Abort, unnoticed))).unwrap_err();
                assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGABRT), "{error}");
            });
        }
    });
}

#[test]
fn it_is_killed() {
    within(DEADLINE, || {
        each(|rpc, shut| {
            let call = rpc.call((shut.clone(), Then::Return, false));
            assert_eq!(call.wait().unwrap(), 5);
            let stays = rpc.call((shut, Then::Stay, false));
            rpc.kill().unwrap();
            let error = stays.wait().unwrap_err();
            assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGKILL), "{error}");
        });
    });
}

/// What it had said is not lost.
#[test]
fn what_came_before_the_end_is_heard() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(says_much).start().unwrap();
        let events = rpc.events();
        let (gate, shut) = Gate::new();
        let call = rpc.call(shut);
        assert!(call.wait().unwrap_err().is_disconnected());
        assert!(events.iter().eq(0..MUCH));
        drop(gate);
    });
}

const MUCH: u32 = 1000;

#[offshoot::worker]
fn says_much(cx: &Context<u32>, gate: Fd) {
    by_clone(&gate);
    (0..MUCH).for_each(|n| cx.event(&n));
    std::process::abort();
}
