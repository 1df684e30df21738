//! Says how many threads it has: one, until the first future or receiver.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use offshoot::{Args, Child, Process, Start};
use offshoot_tests::block_on::{all, block_on};
use offshoot_tests::proc::threads;
use offshoot_tests::{DEADLINE, eventually};

#[offshoot::entry]
fn until_told(mut start: Start) -> io::Result<()> {
    start.stream.read_exact(&mut [0])
}

#[offshoot::setup]
fn fine(_: Args) {}

fn child() -> Child {
    Process::new().unwrap().run(until_told).unwrap()
}

fn tell(child: &Child) {
    child.stream().write_all(b"!").unwrap();
}

/// A thread that has been joined is still listed for a moment.
fn expect(count: usize, after: &str) {
    eventually(DEADLINE, after, || threads() == count);
    println!("{after}: {count}");
}

/// Everything that blocks.
fn blocking() {
    let ended = child();
    tell(&ended);
    assert!(ended.wait().unwrap().success());
    let template = Process::new().unwrap().setup(fine, ["x"]);
    let child = template.fork().unwrap().run(until_told).unwrap();
    child.id().unwrap();
    child.pidfd().unwrap();
    child.signal(0).unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.wait_timeout(Duration::from_millis(1)).unwrap(), None);
    thread::scope(|s| {
        s.spawn(|| assert!(child.wait().unwrap().success()));
        tell(&child);
    });
    // A future that nobody polls asks for nothing.
    drop(child.exited());
    child.usage().unwrap();
    let _unrun = (Process::new().unwrap(), template.fork().unwrap().into_fd().unwrap());
    expect(1, "blocking");
}

fn futures() {
    let children = [child(), child(), child()];
    children.iter().for_each(tell);
    assert!(block_on(children[0].exited()).unwrap().success());
    expect(2, "future");
    let more = all(children.iter().map(Child::exited).collect());
    assert!(block_on(more).into_iter().all(|s| s.unwrap().success()));
    expect(2, "more futures");
}

fn receivers() {
    let children = [child(), child(), child()];
    children.iter().for_each(tell);
    assert!(children[0].exited_receiver().recv().unwrap().unwrap().success());
    expect(2, "receiver");
    let more: Vec<_> = children.iter().map(Child::exited_receiver).collect();
    assert!(more.iter().all(|r| r.recv().unwrap().unwrap().success()));
    expect(2, "more receivers");
}

/// Goes on as a fork of itself: what has watched for futures is no more, and the
/// template is the fork's.
fn daemon() {
    let child = child();
    tell(&child);
    assert!(block_on(child.exited()).unwrap().success());
    let template = Process::new().unwrap().setup(fine, ["x"]);
    let grown = template.fork().unwrap().run(until_told).unwrap();
    tell(&grown);
    assert!(block_on(grown.exited()).unwrap().success());
    io::stdout().flush().unwrap();
    // SAFETY: the other thread, the library's own, holds no lock while nobody waits.
    if let nix::unistd::ForkResult::Parent { .. } = unsafe { nix::unistd::fork() }.unwrap() {
        std::process::exit(0);
    }
    for template in [Process::new().unwrap(), template] {
        let child = template.run(until_told).unwrap();
        let receiver = child.exited_receiver();
        tell(&child);
        assert!(block_on(child.exited()).unwrap().success());
        assert!(receiver.recv().unwrap().unwrap().success());
    }
    println!("in the daemon: 2 futures, 2 receivers");
}

#[offshoot::main]
fn main() {
    blocking();
    match std::env::args().nth(1).as_deref() {
        Some("receiver") => receivers(),
        Some("daemon") => daemon(),
        _ => futures(),
    }
}
