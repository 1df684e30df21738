//! Programs whose forks, and setup functions whose processes, are in a pid namespace of
//! their own: there numbers of processes mean something else.

use std::io::{Read, Write};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{ForkResult, fork};
use offshoot::{Args, Child, Process, Start};
use offshoot_tests::DEADLINE;
use offshoot_tests::program::Watched;

use super::daemon::{closes_and_ends, ends_well, in_fork};
use super::{Scene, at, hold, stay, touch, until_closed, works};

pub(super) const SCENES: &[Scene] = &[
    ("as_init", as_init),
    ("both_namespaces", both),
    ("heir_in_namespace", heir),
    ("setup_unshares", setup_unshares),
    ("setup_unshares_killed", setup_unshares_killed),
    ("template_dies_in_fork", template_dies_in_fork),
];

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// What is forked from now on is in a new pid namespace; whether that is permitted.
fn unshare_pids() -> bool {
    unshare(CloneFlags::CLONE_NEWPID).is_ok()
        || unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID).is_ok()
}

/// Whether a namespace may be made, tried in a fork.
#[allow(unsafe_code)]
fn permitted() -> bool {
    // SAFETY: the fork makes system calls only.
    let permitted = match unsafe { fork() }.expect("it can be forked") {
        // SAFETY: ends it.
        ForkResult::Child => unsafe { libc::_exit(i32::from(!unshare_pids())) },
        ForkResult::Parent { child } => {
            nix::sys::wait::waitpid(child, None) == Ok(nix::sys::wait::WaitStatus::Exited(child, 0))
        }
    };
    if !permitted {
        println!("skipped: no pid namespace can be made");
    }
    permitted
}

/// Plays another scene as the first process of a namespace.
fn as_init(scene: &[String]) {
    if permitted() {
        assert!(unshare_pids());
        let own = std::env::current_exe().expect("it is known");
        let status = Command::new(own).args(scene).status().expect("it can be started");
        assert!(status.success(), "{status}");
    }
}

#[offshoot::worker]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

/// Both sides live on: what is the parent's stays the parent's.
fn both(_: &[String]) {
    if !permitted() {
        return;
    }
    let child = new().run(until_closed).expect("it runs");
    let template = new().setup(touch, [""; 0]);
    works(template.fork().expect("it can be forked"));
    let rpc = new().rpc(add).start().expect("it starts");
    assert_eq!(rpc.call((1, 2)).wait().expect("it is called"), 3);
    let road = offshoot::doctor().road;
    assert!(unshare_pids());
    let mut copies = Some((child, template, rpc));
    let forked = in_fork(|| {
        assert_eq!(std::process::id(), 1);
        let (child, template, rpc) = copies.take().expect("made before");
        let theirs = |error: offshoot::Error| assert!(error.is_not_owner(), "{error}");
        theirs(child.try_wait().expect_err("it is the parent's"));
        theirs(child.signal(0).expect_err("it is the parent's"));
        theirs(template.fork().and_then(|p| p.run(until_closed)).expect_err("the parent's"));
        works(new());
        let own = new().setup(touch, [""; 0]);
        works(own.fork().expect("it can be forked"));
        let own = new().rpc(add).start().expect("it starts");
        assert_eq!(own.call((2, 2)).wait().expect("it is called"), 4);
        theirs(rpc.call((1, 1)).wait().expect_err("it is the parent's"));
        theirs(child.wait().expect_err("it still is the parent's"));
        assert!(own.finish().expect("its status is told").success());
    });
    ends_well(forked);
    let (child, template, rpc) = copies.expect("it is the fork's copy that was taken");
    assert_eq!(rpc.call((2, 3)).wait().expect("it is ours"), 5);
    assert!(rpc.finish().expect("it is ours").success());
    assert!(child.try_wait().expect("it is ours").is_none());
    works(template.fork().expect("it can be forked"));
    works(new());
    assert_eq!(offshoot::doctor().road, road, "the early template is kept");
    closes_and_ends(&child);
    println!("each has its own");
}

/// The parent ends, as that of a daemon, which is in another namespace.
fn heir(_: &[String]) {
    if !permitted() {
        return;
    }
    let child = new().run(until_closed).expect("it runs");
    let template = new().setup(touch, [""; 0]);
    works(template.fork().expect("it can be forked"));
    let parent = Watched::new(std::process::id());
    assert!(unshare_pids());
    in_fork(|| {
        assert!(parent.gone_within(DEADLINE));
        closes_and_ends(&child);
        works(template);
        works(new());
        println!("inherited");
    });
    // Nothing is dropped: it is the heir's.
    std::process::exit(0);
}

/// From now on, what is forked of this process is in a namespace.
#[offshoot::setup]
fn unshares(_args: Args) {
    assert!(unshare_pids());
}

/// Says which number it has, and stays until its stream is closed.
#[offshoot::entry]
fn number(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(&[std::process::id() as u8])?;
    start.stream.read_to_end(&mut Vec::new()).map(|_| ())
}

fn number_of(child: &Child) -> u8 {
    let mut said = [0];
    child.stream().read_exact(&mut said).expect("it says it");
    said[0]
}

fn setup_unshares(_: &[String]) {
    if !permitted() {
        return;
    }
    let template = new().setup(unshares, [""; 0]);
    let run = || template.fork().and_then(|p| p.run(number)).expect("it runs");
    let init = run();
    assert_eq!(number_of(&init), 1, "{:?}", init.wait_timeout(DEADLINE));
    let second = run();
    assert_eq!(number_of(&second), 2);
    closes_and_ends(&second);
    works(template.fork().expect("it can be forked"));
    works(template.fork().expect("it can be forked").setup(touch, [""; 0]));
    let nested = template.fork().expect("it can be forked").setup(touch, [""; 0]);
    works(nested.fork().expect("it can be forked"));
    works(nested);
    closes_and_ends(&init);
    // As with any such namespace: without its first process it is dead.
    let error = template.fork().and_then(|p| p.run(number)).expect("it is sent").wait();
    assert_eq!(error.expect_err("it cannot be forked").raw_os_error(), Some(libc::ENOMEM));
    println!("numbered anew");
}

/// Everything there is to be gone when this program is.
fn setup_unshares_killed(_: &[String]) {
    if !permitted() {
        return;
    }
    let template = new().setup(unshares, [""; 0]);
    let run = |entry| template.fork().and_then(|p| p.run(entry)).expect("it runs");
    let _children = [run(stay), run(stay)];
    let nested = template.fork().expect("it can be forked").setup(touch, [""; 0]);
    let _of_nested = nested.fork().and_then(|p| p.run(stay)).expect("it runs");
    hold();
}

/// In a fork of a process whose setup function asked for it, before anything else.
#[allow(unsafe_code)]
extern "C" fn stop() {
    let (line, mut answer) = (b"at fork\n", 0_u8);
    // SAFETY: system calls with buffers of these lengths.
    unsafe {
        libc::write(1, line.as_ptr().cast(), line.len());
        libc::read(0, (&raw mut answer).cast(), 1);
    }
}

/// As `unshares`; and what is forked goes no further until the test says so.
#[offshoot::setup]
#[allow(unsafe_code)]
fn stops_forks(_args: Args) {
    assert!(unshare_pids());
    // SAFETY: `stop` makes system calls only.
    assert_eq!(unsafe { libc::pthread_atfork(None, None, Some(stop)) }, 0);
    at("stops_forks");
}

/// The template is killed before its fork can have asked for a signal.
fn template_dies_in_fork(_: &[String]) {
    if !permitted() {
        return;
    }
    let child = new().setup(stops_forks, [""; 0]).fork().and_then(|p| p.run(stay));
    // Its socket ends when the last who has it is gone, or runs.
    println!("lost {}", child.expect("it runs").wait().is_err());
    hold();
}
