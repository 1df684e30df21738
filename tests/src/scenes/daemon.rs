//! Programs that fork by themselves: to become a daemon, or to live on in both.

use std::io::Read;
use std::net::Shutdown;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};
use offshoot::{Child, Process};
use offshoot_tests::program::Watched;

use super::{Scene, at, echo, hold, never_ends, next_at, pipe, template_of, touch};
use super::{until_closed, works};

pub(super) const SCENES: &[Scene] = &[
    ("daemon", daemon),
    ("daemon_late", daemon_late),
    ("daemon_early", daemon_early),
    ("both", both),
    ("asks_first", asks_first),
];

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// Runs `here` in a fork of this process.
#[allow(unsafe_code)]
pub(super) fn in_fork(here: impl FnOnce()) -> Pid {
    // SAFETY: the scenes that fork have not started a thread; or only this library's, which
    // rests, so that no lock is held.
    match unsafe { fork() }.expect("it can be forked") {
        ForkResult::Parent { child } => {
            // What it holds is the fork's now: dropped here, it would be given up.
            std::mem::forget(here);
            child
        }
        ForkResult::Child => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(here));
            std::process::exit(if done.is_ok() { 0 } else { 101 });
        }
    }
}

pub(super) fn ends_well(pid: Pid) {
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
}

/// As daemon(3) in its thorough form; the process that was started exits at once.
pub(super) fn become_daemon(then: impl FnOnce()) -> ! {
    in_fork(|| {
        setsid().expect("we lead no group");
        in_fork(then);
    });
    // Without waiting: the daemon comes to an owner that may not be quite gone.
    std::process::exit(0);
}

pub(super) fn closes_and_ends(child: &Child) {
    child.stream().shutdown(Shutdown::Write).expect("it is open");
    assert!(child.wait().expect("its status is told").success());
}

/// All kinds of handles are made, and then used in the daemon.
fn daemon(_: &[String]) {
    let child = new().run(until_closed).expect("it runs");
    let template = new().setup(touch, [""; 0]);
    let nested = template.fork().expect("it can be forked");
    let of_nested = nested.fork().and_then(|p| p.run(until_closed)).expect("it runs");
    let executed = Process::new_exec().expect("it is made");
    let handed = new().into_fd().expect("it is made");
    let snapshot = Process::snapshot().expect("there is one thread");
    let of_snapshot = snapshot.fork().and_then(|p| p.run(until_closed)).expect("it runs");
    let before = [template_of(&child), template_of(&of_nested)];
    become_daemon(|| {
        closes_and_ends(&child);
        closes_and_ends(&of_nested);
        closes_and_ends(&of_snapshot);
        let again = new().run(until_closed).expect("it runs");
        assert_eq!(template_of(&again).pid(), before[0].pid(), "the template is kept");
        let again = template.fork().and_then(|p| p.run(until_closed)).expect("it runs");
        assert_eq!(template_of(&again).pid(), before[1].pid(), "the template is kept");
        let handed = Process::from_fd(handed).expect("a socket");
        for process in [nested, template, executed, handed, snapshot] {
            works(process.fork().expect("it can be forked"));
            works(process);
        }
        works(Process::new_exec().expect("it is made"));
        at("daemon");
        hold();
    });
}

/// Nothing is made before: the daemon takes the early template.
fn daemon_late(_: &[String]) {
    let started = Watched::new(std::process::id());
    become_daemon(|| {
        assert!(started.gone_within(offshoot_tests::DEADLINE));
        let road = offshoot::doctor().road;
        works(new());
        let child = new().run(until_closed).expect("it runs");
        println!("{road:?}");
        closes_and_ends(&child);
    });
}

/// The daemon begins while the process that was started may still be there.
fn daemon_early(_: &[String]) {
    become_daemon(|| {
        works(new());
        works(new());
        println!("done");
    });
}

/// Both sides live on, and both make processes.
fn both(_: &[String]) {
    let mut copies = Some((new().run(until_closed).expect("it runs"), new().setup(touch, [""; 0])));
    let (child, template) = copies.as_ref().expect("just made");
    works(template.fork().expect("it can be forked"));
    let process = template_of(child);
    let forked = in_fork(|| {
        let (child, template) = copies.as_ref().expect("made before");
        let theirs = |error: offshoot::Error| assert!(error.is_not_owner(), "{error}");
        theirs(child.wait().expect_err("it is the parent's"));
        theirs(child.try_wait().expect_err("it is the parent's"));
        theirs(child.signal(0).expect_err("it is the parent's"));
        theirs(child.kill().expect_err("it is the parent's"));
        let message = child.exited_receiver().recv().expect("one message comes");
        theirs(message.expect_err("it is the parent's"));
        theirs(template.fork().and_then(|p| p.run(echo)).expect_err("it is the parent's"));
        works(new());
        works(Process::new_exec().expect("it is made"));
        let own = new().setup(touch, [""; 0]);
        works(own.fork().expect("it can be forked"));
        let of_own = new().run(until_closed).expect("it runs");
        let parent = offshoot_tests::parent_of(template_of(&of_own).pid());
        assert_eq!(parent, Some(std::process::id()), "it is re-executed");
        closes_and_ends(&of_own);
        // The ends of these copies must not be the end of what is the parent's.
        drop((copies.take(), own));
    });
    works(new());
    ends_well(forked);
    let (child, template) = copies.expect("it is the fork's copy that was taken");
    let again = template.fork().expect("it can be forked");
    works(again);
    works(template);
    child.signal(0).expect("it still runs");
    closes_and_ends(&child);
    let later = new().run(until_closed).expect("it runs");
    assert_eq!(template_of(&later).pid(), process.pid(), "the template is kept");
}

/// The fork is the first to use the library; then the program does.
fn asks_first(_: &[String]) {
    let (mut lines, write) = pipe();
    let (mut gate, hold_gate) = pipe();
    let mut hold_gate = Some(hold_gate);
    let forked = in_fork(|| {
        drop(hold_gate.take());
        works(new());
        let stuck = new().stdout(&write).setup(never_ends, [""; 0]);
        let _fork = stuck.fork().expect("the fork does not wait");
        let _ = gate.read_to_end(&mut Vec::new());
    });
    let stuck = Watched::new(next_at(&mut lines));
    works(new());
    let child = new().run(until_closed).expect("it runs");
    println!("{:?}", offshoot::doctor().road);
    drop(gate);
    drop(hold_gate);
    ends_well(forked);
    let limit = offshoot_tests::program::at_once();
    assert!(stuck.gone_within(limit), "the fork's processes die with the fork");
    closes_and_ends(&child);
}
