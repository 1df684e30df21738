//! Programs whose main process is killed, and what they leave behind.

use std::io::Read;
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};
use offshoot::{Args, Child, Process, Start};
use offshoot_tests::program::{Watched, at_once};

use super::{Scene, answer, at, for_ever, hold, never_ends, pipe, stay, template_of, touch};
use super::{next_at, until_closed};

pub(super) const SCENES: &[Scene] = &[
    ("tree", tree),
    ("detached", detached),
    ("detached_at_once", detached_at_once),
    ("told", told),
    ("another_user", another_user),
    ("owner_killed", owner_killed),
    ("retired", retired),
    ("dropped", dropped),
    ("init", init),
];

/// How many processes `tree` announces.
const _: () = assert!(offshoot_tests::program::TREE == 15);

/// All kinds of processes, in all kinds of states.
fn tree(_: &[String]) {
    let new = || Process::new().expect("processes can be made");
    // Before there is another thread.
    let snapshot = Process::snapshot().expect("there is one thread");
    let mut children = Vec::new();
    for entry in [stay, spin, read_for_ever, makes_its_own] {
        children.push(new().run(entry).expect("it runs"));
    }
    // `run` waits for setup functions: theirs never end.
    thread::spawn(move || new().setup(never_ends, [""; 0]).run(stay));
    thread::spawn(move || new().setup(stops, [""; 0]).run(stay));
    let stuck = new().setup(never_ends, [""; 0]);
    let _fork_of_stuck = stuck.fork().expect("the fork does not wait");
    let template = new().setup(touch, [""; 0]);
    children.push(template.fork().and_then(|p| p.run(spin)).expect("it runs"));
    let nested = template.fork().expect("it can be forked").setup(touch, [""; 0]);
    let nested = nested.fork().expect("it can be forked").setup(touch, [""; 0]);
    children.push(nested.fork().and_then(|p| p.run(stay)).expect("it runs"));
    children.push(snapshot.fork().and_then(|p| p.run(takes_its_own)).expect("it runs"));
    let of_snapshot = snapshot.fork().expect("it can be forked").setup(touch, [""; 0]);
    children.push(of_snapshot.fork().and_then(|p| p.run(spin)).expect("it runs"));
    for from in [new(), template.fork().expect("it can be forked")] {
        children.push(from.exec(["sleep", "1000"]).expect("it is sent"));
        executed(children.last().expect("just put there"));
    }
    hold();
}

/// Says where it is once the program in it has begun.
fn executed(child: &Child) {
    child.stream().read_to_end(&mut Vec::new()).expect("it is closed by the exec");
    println!("at exec {}", child.id().expect("it runs"));
}

#[offshoot::entry]
fn spin(_start: Start) {
    at("spin");
    loop {
        std::hint::spin_loop();
    }
}

#[offshoot::entry]
fn read_for_ever(_start: Start) {
    let (mut read, _write) = pipe();
    at("read_for_ever");
    let _ = read.read_to_end(&mut Vec::new());
}

/// A process that uses the library as a program of its own.
#[offshoot::entry]
fn makes_its_own(_start: Start) {
    at("makes_its_own");
    let _own = Process::new().and_then(|p| p.run(stay)).expect("it runs");
    for_ever();
}

/// The same, with a snapshot.
#[offshoot::entry]
fn takes_its_own(_start: Start) {
    at("takes_its_own");
    let _own = Process::snapshot().and_then(|p| p.run(stay)).expect("it runs");
    for_ever();
}

#[offshoot::setup]
fn stops(_args: Args) {
    at("stops");
    let _ = raise(Signal::SIGSTOP);
}

/// What `answer` does, as a program.
const ANSWER: &str = "echo at answer $$ $PPID; while read line; do echo answer; done";

/// Processes that are to outlive the program: they, or what they are forked from, are
/// detached.
fn detached(_: &[String]) {
    let new = || Process::new().expect("processes can be made");
    let mut children = vec![new().detach().run(answer).expect("it runs")];
    children.push(new().detach().exec(["sh", "-c", ANSWER]).expect("it is sent"));
    // One that is a process of its own, and one that is only a queue.
    let template = new().detach().setup(touch, [""; 0]);
    for template in [&template, &new().detach()] {
        let fork = || template.fork().expect("it can be forked");
        children.push(fork().run(answer).expect("it runs"));
        children.push(fork().exec(["sh", "-c", ANSWER]).expect("it is sent"));
        let nested = fork().setup(touch, [""; 0]);
        children.push(nested.fork().and_then(|p| p.run(answer)).expect("it runs"));
    }
    // The input is for them.
    for_ever();
}

/// The program ends as soon as it has asked for them, with something unread.
fn detached_at_once(_: &[String]) {
    let new = || Process::new().expect("processes can be made");
    let unread = new().run(until_closed).expect("it runs");
    unread.id().expect("it runs");
    let template = new().detach().setup(touch, [""; 0]);
    let _of_template = template.fork().and_then(|p| p.run(says)).expect("it runs");
    unread.kill().expect("it runs");
    let _plain = new().detach().run(says).expect("it runs");
    let _more = new().send_arg("more").env("MORE", "1").detach().run(says).expect("it runs");
    let _executed = new().detach().exec(["echo", "here"]).expect("it is sent");
    std::process::exit(0);
}

#[offshoot::entry]
fn says(_start: Start) {
    println!("here");
}

/// Setup functions become somebody else, which makes the kernel forget the signal.
fn another_user(_: &[String]) {
    let new = || Process::new().expect("processes can be made").setup(drops_root, [""; 0]);
    let _runs = new().run(stay).expect("it runs");
    let template = new();
    let _fork = template.fork().and_then(|p| p.run(stay)).expect("it runs");
    let stuck = new().setup(never_ends, [""; 0]);
    let _fork_of_stuck = stuck.fork().expect("the fork does not wait");
    hold();
}

#[offshoot::setup]
fn drops_root(_args: Args) -> nix::Result<()> {
    let (user, group) = (4711.into(), 4712.into());
    nix::unistd::setgroups(&[])?;
    nix::unistd::setresgid(group, group, group)?;
    nix::unistd::setresuid(user, user, user)
}

/// A process that is told of the death by a signal that it can catch: it was asked for there,
/// or in what it is forked from.
fn told(args: &[String]) {
    let asked = Process::new().expect("processes can be made").parent_death_signal(libc::SIGTERM);
    let template = asked.setup(touch, [""; 0]);
    let process = match args[0].as_str() {
        "process" => Process::new().map(|p| p.parent_death_signal(libc::SIGTERM)),
        "fork" => template.fork(),
        _ => template.fork().and_then(|p| p.setup(touch, [""; 0]).fork()),
    };
    let _child = process.and_then(|p| p.run(tells)).expect("it runs");
    hold();
}

#[offshoot::entry]
fn tells(_start: Start) {
    let mut awaited = SigSet::empty();
    awaited.add(Signal::SIGTERM);
    awaited.thread_block().expect("it can be blocked");
    at("tells");
    println!("told {}", awaited.wait().expect("one comes") as i32);
}

/// A process is handed to another, which is killed: its control socket ends without a
/// Retire, while the process that it was forked from lives on.
fn owner_killed(_: &[String]) {
    let new = || Process::new().expect("processes can be made");
    let (mut lines, write) = pipe();
    let fd = new().into_fd().expect("it is made");
    let owner = new().stdout(&write).send_fd(&fd).run(owns).expect("it runs");
    drop((fd, write));
    let template = Watched::new(next_at(&mut lines));
    let child = Watched::new(next_at(&mut lines));
    owner.kill().expect("it runs");
    assert!(template.gone_within(at_once()), "the template is still there");
    assert!(child.gone_within(at_once()), "its child is still there");
    super::works(new());
}

#[offshoot::entry]
fn owns(mut start: Start) {
    let template = Process::from_fd(start.fds.remove(0)).expect("it is a control socket");
    let child = template.fork().and_then(|p| p.run(until_closed)).expect("it runs");
    println!("at template {}", template_of(&child).pid());
    println!("at child {}", child.id().expect("it runs"));
    for_ever();
}

/// A template without a handle stays for its children, and no longer.
fn retired(_: &[String]) {
    let template = Process::new().expect("a template").setup(touch, [""; 0]);
    let run = || template.fork().and_then(|p| p.run(until_closed)).expect("it runs");
    let (first, second) = (run(), run());
    let process = template_of(&first);
    assert_eq!(template_of(&second).pid(), process.pid());
    drop(template);
    drop(first.into_stream());
    // Its end is told by a template that has been retired before.
    second.signal(0).expect("the second lives on");
    assert!(!process.gone_within(std::time::Duration::ZERO), "it left its child alone");
    second.stream().shutdown(std::net::Shutdown::Both).expect("it is open");
    assert!(second.wait().expect("it is told").success());
    assert!(process.gone_within(at_once()), "nobody needs it any more");
}

/// Plays another program's scene, and reaps its orphans at once, as an init does (that
/// of some containers takes seconds).
fn init(command: &[String]) {
    nix::sys::prctl::set_child_subreaper(true).expect("it is allowed");
    let main = std::process::Command::new(&command[0]).args(&command[1..]).spawn();
    let main = nix::unistd::Pid::from_raw(main.expect("it can be started").id() as i32);
    let mut failed = false;
    // Until there are no children left.
    while let Ok(ended) = nix::sys::wait::wait() {
        failed |=
            ended.pid() == Some(main) && !matches!(ended, nix::sys::wait::WaitStatus::Exited(_, 0));
    }
    std::process::exit(i32::from(failed));
}

/// Processes that are given up before they are run.
fn dropped(_: &[String]) {
    let new = || Process::new().expect("processes can be made").send_arg("never");
    drop(new());
    let template = new().setup(touch, [""; 0]);
    let fork = template.fork().expect("it can be forked").setup(touch, [""; 0]);
    drop(fork.fork().expect("it can be forked"));
    let child = fork.fork().and_then(|p| p.run(until_closed)).expect("it runs");
    let nested = template_of(&child);
    let outer = Watched::new(offshoot_tests::parent_of(nested.pid()).expect("it has a parent"));
    drop(child);
    drop(fork);
    assert!(nested.gone_within(at_once()), "the nested template is still there");
    drop(template);
    assert!(outer.gone_within(at_once()), "the template is still there");

    let executed = Process::new_exec().expect("it is made");
    let child = executed.fork().and_then(|p| p.run(until_closed)).expect("it runs");
    let process = template_of(&child);
    drop(child);
    drop(executed);
    match offshoot::doctor().road {
        offshoot::Road::ReExec => assert!(process.gone_within(at_once()), "it is still there"),
        // It was forked from the early template, which stays.
        _ => assert_eq!(template_of(&super::staying(new())).pid(), process.pid()),
    }
}
