//! The parent has the same descriptors after any number of processes, however they
//! ended, and nobody else holds a stream.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::thread;

use offshoot::{Args, Child, Process, Start};
use offshoot_tests::{DEADLINE, output_of, within};

offshoot::early!();

#[offshoot::entry]
fn until_eof(mut start: Start) -> io::Result<()> {
    start.stream.read_to_end(&mut Vec::new()).map(|_| ())
}

#[offshoot::entry]
fn until_told(mut start: Start) -> io::Result<()> {
    start.stream.read_exact(&mut [0])
}

#[offshoot::setup]
fn fine(_: Args) {}

#[test]
fn the_parent_leaks_nothing_whatever_happens() {
    assert_eq!(output_of(env!("CARGO_BIN_EXE_leaks"), &[]), "no leak\n");
}

fn concurrent(template: &Process, count: usize) -> Vec<Child> {
    thread::scope(|s| {
        let make = || template.fork().unwrap().run(until_told).unwrap();
        let makers: Vec<_> = (0..count).map(|_| s.spawn(make)).collect();
        makers.into_iter().map(|m| m.join().unwrap()).collect()
    })
}

fn killing_one_ends_its_stream_alone(template: &Process) {
    use std::os::unix::process::ExitStatusExt;
    let mut children = concurrent(template, 12);
    assert!(children.iter().all(|c| c.id().is_ok()));
    while let Some(victim) = children.pop() {
        victim.kill().unwrap();
        assert_eq!(victim.stream().read(&mut [0]).unwrap(), 0);
        assert_eq!(victim.wait().unwrap(), ExitStatus::from_raw(libc::SIGKILL));
        for other in &children {
            assert_eq!(other.try_wait().unwrap(), None);
        }
    }
}

#[test]
fn killing_a_worker_ends_its_stream_although_siblings_live() {
    within(DEADLINE, || {
        let plain = Process::new().unwrap();
        killing_one_ends_its_stream_alone(&plain);
        let grown = plain.setup(fine, ["a"]);
        killing_one_ends_its_stream_alone(&grown);
        let fork = grown.fork().unwrap().setup(fine, ["b"]);
        killing_one_ends_its_stream_alone(&fork);
    });
}

#[test]
fn what_was_sent_to_one_worker_is_closed_with_it() {
    within(DEADLINE, || {
        let (mut reader, writer) = io::pipe().unwrap();
        let template = Process::new().unwrap().setup(fine, ["a"]);
        let with = template.fork().unwrap().send_fd(OwnedFd::from(writer));
        let child = with.run(until_eof).unwrap();
        // They come later, from the same template, while the first one lives.
        let _siblings = concurrent(&template, 4);
        child.kill().unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_dropped_stream_is_the_end_of_input_for_its_worker_alone() {
    within(DEADLINE, || {
        let template = Process::new().unwrap();
        let make = || template.fork().unwrap().run(until_eof).unwrap();
        let (first, second) = (make(), make());
        let receiver = first.exited_receiver();
        drop(first.into_stream());
        assert!(receiver.recv().unwrap().unwrap().success());
        assert_eq!(second.try_wait().unwrap(), None);
    });
}
