//! kill -9 of templates and workers at each stage: what the parent's calls return.

use std::os::unix::process::ExitStatusExt;
use std::thread;

use nix::sys::signal::Signal;
use offshoot::{Child, Error, Process};
use offshoot_tests::parent_of;
use offshoot_tests::program::{Watched, at_once};

use super::{Scene, never_ends, next_at, pipe, stay, staying, template_of, touch, works};

pub(super) const SCENES: &[Scene] = &[
    ("template_killed", template_killed),
    ("template_killed_in_setup", template_killed_in_setup),
    ("nested_killed", nested_killed),
    ("nested_killed_in_setup", nested_killed_in_setup),
    ("handed_over_killed", handed_over_killed),
    ("executed_killed", executed_killed),
    ("worker_killed", worker_killed),
    ("worker_killed_in_setup", worker_killed_in_setup),
    ("without_ignoring_sigpipe", without_ignoring_sigpipe),
];

fn new() -> Process {
    Process::new().expect("processes can be made")
}

fn kill(process: &Watched) {
    process.signal(Signal::SIGKILL);
    assert!(process.gone_within(at_once()), "{} does not die", process.pid());
}

pub(super) fn assert_disconnected<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("its template is dead");
    assert!(error.is_disconnected(), "{error}");
}

/// Runs on a thread a process whose setup never ends; gives that process.
fn stuck_in_setup(from: Process) -> (Watched, thread::JoinHandle<Result<Child, Error>>) {
    let (mut lines, write) = pipe();
    let stuck = from.stdout(&write).setup(never_ends, [""; 0]);
    drop(write);
    let runner = thread::spawn(move || stuck.run(stay));
    (Watched::new(next_at(&mut lines)), runner)
}

fn join(runner: thread::JoinHandle<Result<Child, Error>>) -> Result<Child, Error> {
    runner.join().expect("it does not panic")
}

/// The default template, with processes before their run and running.
fn template_killed(_: &[String]) {
    let running = staying(new());
    let worker = Watched::new(running.id().expect("it runs"));
    let template = template_of(&running);
    let (prepared, other) = (new().send_arg("x"), staying(new()));
    let fork = prepared.fork().expect("it can be forked");
    let waiter = thread::spawn(move || other.wait());
    let message = running.exited_receiver();
    // Templates below it, with children.
    let nested = new().setup(touch, [""; 0]);
    let inner = nested.fork().expect("it can be forked").setup(touch, [""; 0]);
    let below = [&nested, &inner].map(|t| t.fork().map(staying).expect("it can be forked"));
    let gone = below.each_ref().map(|c| (template_of(c), Watched::new(c.id().expect("it runs"))));
    kill(&template);
    assert!(worker.gone_within(at_once()), "workers die with their template");
    for (template, child) in &gone {
        assert!(template.gone_within(at_once()), "and so do templates");
        assert!(child.gone_within(at_once()), "and so do their children");
    }
    below.iter().for_each(|child| assert_disconnected(child.wait()));
    for template in [nested, inner] {
        assert_disconnected(template.fork().and_then(|p| p.run(stay)));
        assert_disconnected(template.run(stay));
    }
    assert_disconnected(waiter.join().expect("it does not panic"));
    assert_disconnected(message.recv().expect("one message comes"));
    assert_disconnected(running.wait());
    assert_disconnected(running.try_wait());
    assert_disconnected(running.usage());
    assert_disconnected(running.signal(0));
    assert_disconnected(running.pidfd());
    assert!(running.id().is_ok(), "the pid was known before");
    // Nothing of these was there yet, so nothing of them is lost.
    drop((staying(prepared), staying(fork)));
    works(new());
    let child = staying(new());
    let parent = parent_of(template_of(&child).pid());
    assert_eq!(parent, Some(std::process::id()), "the new template is our child");
    child.kill().expect("it runs");
    assert_eq!(child.wait().expect("it is told").signal(), Some(9));
}

fn template_killed_in_setup(_: &[String]) {
    let (process, runner) = stuck_in_setup(new());
    let template = Watched::new(parent_of(process.pid()).expect("it has a parent"));
    kill(&template);
    assert!(process.gone_within(at_once()), "processes die with their template");
    assert_disconnected(join(runner));
    works(new());
}

/// A template with a setup function, which has children and forks.
fn nested_killed(_: &[String]) {
    let outer = template_of(&staying(new()));
    let nested = new().setup(touch, [""; 0]);
    let running = nested.fork().map(staying).expect("it can be forked");
    let prepared = nested.fork().expect("it can be forked");
    kill(&template_of(&running));
    assert_disconnected(running.wait());
    assert_disconnected(prepared.run(stay));
    assert_disconnected(nested.fork().and_then(|p| p.run(stay)));
    assert_disconnected(nested.fork().and_then(|p| p.into_fd()));
    assert_disconnected(nested.run(stay));
    let child = staying(new());
    assert_eq!(template_of(&child).pid(), outer.pid(), "the first template lives on");
    works(new());
}

fn nested_killed_in_setup(_: &[String]) {
    let (mut lines, write) = pipe();
    let nested = new().stdout(&write).setup(never_ends, [""; 0]);
    let runner = {
        let fork = nested.fork().expect("the fork does not wait");
        thread::spawn(move || fork.run(stay))
    };
    kill(&Watched::new(next_at(&mut lines)));
    assert_disconnected(join(runner));
    assert_disconnected(nested.fork().and_then(|p| p.run(stay)));
    works(new());
}

fn handed_over_killed(_: &[String]) {
    let fd = new().into_fd().expect("it is made");
    let handle = Process::from_fd(fd).expect("it is a control socket");
    let running = handle.fork().map(staying).expect("it can be forked");
    kill(&template_of(&running));
    assert_disconnected(running.wait());
    assert_disconnected(handle.run(stay));
    works(new());
}

fn executed_killed(_: &[String]) {
    let executed = Process::new_exec().expect("it is made");
    let running = executed.fork().map(staying).expect("it can be forked");
    kill(&template_of(&running));
    assert_disconnected(running.wait());
    let again = Process::new_exec().expect("it is made");
    works(again.fork().expect("it can be forked"));
    works(again);
    works(new());
}

fn worker_killed(_: &[String]) {
    let child = staying(new());
    let waiter = thread::spawn({
        let message = child.exited_receiver();
        move || message.recv().expect("one message comes")
    });
    Watched::new(child.id().expect("it runs")).signal(Signal::SIGKILL);
    for status in [child.wait(), waiter.join().expect("it does not panic")] {
        assert_eq!(status.expect("it is told").signal(), Some(9));
    }
    assert!(child.signal(0).expect_err("it has ended").is_ended());
    assert!(child.pidfd().expect_err("it has ended").is_ended());
    child.kill().expect("that it has ended is no error");
    works(new());
}

fn worker_killed_in_setup(_: &[String]) {
    let (process, runner) = stuck_in_setup(new());
    kill(&process);
    assert_disconnected(join(runner));
    works(new());
}

#[offshoot::worker]
fn take(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// In a program that has SIGPIPE at its default, as those that print to a pipe may have.
#[allow(unsafe_code)]
fn without_ignoring_sigpipe(_: &[String]) {
    // SAFETY: the default is no function.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let killed = || {
        let template = new().setup(touch, [""; 0]);
        let child = template.fork().map(staying).expect("it can be forked");
        let worker = Watched::new(child.id().expect("it runs"));
        kill(&template_of(&child));
        // Until it has begun to run, it has the template's socket too.
        assert!(worker.gone_within(at_once()), "workers die with their template");
        (template, child)
    };
    let (template, _) = killed();
    // If the one that it was forked from still has its socket too, that is sent.
    let run = template.fork().and_then(|p| p.run(stay));
    assert_disconnected(run.and_then(|child| child.wait()));
    let (_template, child) = killed();
    assert_disconnected(child.signal(0));
    // A template that is dropped is told so.
    drop(killed());

    for size in [1, 1 << 20] {
        let rpc = new().rpc(take).start().expect("it runs");
        assert_eq!(rpc.call(vec![7]).wait().expect("it answers"), 1);
        kill(&Watched::new(rpc.id().expect("it runs")));
        assert_disconnected(rpc.call(vec![7; size]).wait());
    }
    let rpc = new().rpc(take).start().expect("it runs");
    kill(&Watched::new(rpc.id().expect("it runs")));
    drop(rpc);
    works(new());
}
