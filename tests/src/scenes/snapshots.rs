//! Snapshots of a program, their processes, and who comes to have what the program had made
//! before.

use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard};

use nix::sys::signal::Signal;
use offshoot::{Child, Process, Rpc, Start};
use offshoot_tests::parent_of;
use offshoot_tests::program::{Watched, at_once};

use super::daemon::{become_daemon, closes_and_ends, in_fork};
use super::{Scene, at, await_line, for_ever, hold, staying, template_of, touch};
use super::{until_closed, works};

pub(super) const SCENES: &[Scene] =
    &[("heir", heir), ("rival", rival), ("snapshot_killed", snapshot_killed)];

/// What the program has made before its snapshot.
struct Made {
    child: Child,
    template: Process,
    rpc: Rpc<u32, u32>,
}

static MADE: Mutex<Option<Made>> = Mutex::new(None);

fn made() -> MutexGuard<'static, Option<Made>> {
    MADE.lock().expect("nobody has panicked")
}

#[offshoot::worker]
fn same(n: u32) -> u32 {
    n
}

fn new() -> Process {
    Process::new().expect("processes can be made")
}

fn snapshot() -> Process {
    Process::snapshot().expect("there is one thread")
}

/// Makes one of each, and says which templates there are then.
fn make() {
    let child = new().run(until_closed).expect("it runs");
    let template = new().setup(touch, [""; 0]);
    let of_template = template.fork().map(staying).expect("it can be forked");
    let rpc = new().rpc(same).start().expect("it runs");
    assert_eq!(rpc.call(1).wait().expect("it is answered"), 1);
    for child in [&child, &of_template] {
        println!("at template {}", template_of(child).pid());
    }
    *made() = Some(Made { child, template, rpc });
}

/// All that the program has made is the program's, whether that still is there or not; what
/// is made here works.
fn is_on_its_own() {
    let theirs = |error: offshoot::Error| assert!(error.is_not_owner(), "{error}");
    let before = made();
    let Made { child, template, rpc } = before.as_ref().expect("it was made before");
    theirs(child.wait().expect_err("it is the program's"));
    theirs(child.try_wait().expect_err("it is the program's"));
    theirs(child.kill().expect_err("it is the program's"));
    let message = child.exited_receiver().recv().expect("one message comes");
    theirs(message.expect_err("it is the program's"));
    theirs(template.fork().and_then(|p| p.run(until_closed)).expect_err("it is the program's"));
    theirs(rpc.call(2).wait().expect_err("it is the program's"));
    works(new());
    works(Process::new_exec().expect("it is made"));
    let of_own = new().run(until_closed).expect("it runs");
    let owner = parent_of(template_of(&of_own).pid());
    assert_eq!(owner, Some(std::process::id()), "it is re-executed");
    closes_and_ends(&of_own);
}

/// A process of a snapshot outlives the program; or a fork of the program, which lives beside
/// it and takes the snapshot.
fn heir(args: &[String]) {
    make();
    println!("at owner {}", std::process::id());
    if args == ["fork"] {
        in_fork(|| {
            println!("at owner {}", std::process::id());
            let of_fork = new().run(until_closed).expect("it runs");
            println!("at template {}", template_of(&of_fork).pid());
            leave_to_heir();
        });
        // The input is for the heir.
        for_ever();
    }
    leave_to_heir();
}

fn leave_to_heir() -> ! {
    let _child = snapshot().detach().run(inherits).expect("it runs");
    for_ever();
}

#[offshoot::entry]
fn inherits(_start: Start) {
    at("heir");
    assert!(await_line(), "the program has been killed by now");
    is_on_its_own();
    // What it has made by now is not its own snapshot's, either.
    let child = snapshot().run(inherits_nothing).expect("it runs");
    assert!(child.wait().expect("its status is told").success());
    works(new());
    println!("done");
}

#[offshoot::entry]
fn inherits_nothing(_start: Start) {
    is_on_its_own();
}

/// The program becomes a daemon; before that makes use of anything, a process of a snapshot
/// does what it can.
fn rival(_: &[String]) {
    make();
    let started = Watched::new(std::process::id());
    let snapshot = snapshot();
    let rival = snapshot.fork().and_then(|p| p.run(is_rival)).expect("it runs");
    become_daemon(|| {
        assert!(started.gone_within(offshoot_tests::DEADLINE));
        rival.stream().write_all(b"!").expect("it listens");
        assert_eq!(rival.stream().read(&mut [0]).expect("it answers"), 1);
        let Made { child, template, rpc } = made().take().expect("it was made before");
        let process = template_of(&child);
        closes_and_ends(&child);
        assert!(rival.wait().expect("its status is told").success());
        let again = new().run(until_closed).expect("it runs");
        assert_eq!(template_of(&again).pid(), process.pid(), "the template is kept");
        works(template.fork().expect("it can be forked"));
        works(snapshot);
        assert_eq!(rpc.call(3).wait().expect("it is answered"), 3);
        at("daemon");
        hold();
    });
}

#[offshoot::entry]
fn is_rival(mut start: Start) -> std::io::Result<()> {
    start.stream.read_exact(&mut [0])?;
    is_on_its_own();
    start.stream.write_all(b"!")
}

/// A snapshot is killed, with a template below it, and children of both.
fn snapshot_killed(_: &[String]) {
    let snapshot = snapshot();
    let nested = snapshot.fork().expect("it can be forked").setup(touch, [""; 0]);
    let below = nested.fork().map(staying).expect("it can be forked");
    let running = snapshot.fork().map(staying).expect("it can be forked");
    let gone = [
        template_of(&below),
        Watched::new(below.id().expect("it runs")),
        Watched::new(running.id().expect("it runs")),
    ];
    template_of(&running).signal(Signal::SIGKILL);
    assert!(gone.iter().all(|process| process.gone_within(at_once())), "they die with it");
    for error in [
        below.wait().expect_err("its template is dead"),
        running.wait().expect_err("its template is dead"),
        nested.fork().and_then(|p| p.run(until_closed)).expect_err("it is dead"),
        snapshot.run(until_closed).expect_err("it is dead"),
    ] {
        assert!(error.is_disconnected(), "{error}");
    }
    works(new());
}
