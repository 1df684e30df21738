//! Programs in kernels and containers that lack something, and what they are told.

use std::net::Shutdown;

use nix::sys::signal::Signal;
use offshoot::{Process, Start};

use super::daemon::{ends_well, in_fork};
use super::{Scene, template_of, until_closed, works};

pub(super) const SCENES: &[Scene] =
    &[("pidfd", pidfd), ("two_threads", two_threads), ("reasons", reasons)];

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// Prints the errno of a question for a process descriptor, 0 if there is one.
fn pidfd(_: &[String]) {
    let child = new().run(until_closed).expect("it runs");
    let errno = child.pidfd().map_or_else(|e| e.raw_os_error().expect("the system's"), |_| 0);
    println!("{errno}");
    child.stream().shutdown(Shutdown::Both).expect("it is open");
    assert!(child.wait().expect("its status is told").success());
}

/// With one thread the program can be forked as it is, with two it cannot.
fn two_threads(_: &[String]) {
    works(Process::snapshot().expect("there is one thread"));
    let (stay, stays) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || stays.recv());
    let error = Process::snapshot().map(drop).expect_err("there are two threads");
    assert!(error.is_threaded() && error.to_string().contains("2 threads"), "{error}");
    drop(stay);
    let _ = other.join().expect("it does not panic");
    works(new());
}

fn reason() -> String {
    format!("{:?}: {}", offshoot::doctor().road, offshoot::doctor().reason)
}

#[offshoot::entry]
fn tell_reason(_start: Start) {
    println!("{}", reason());
    // From a worker too, processes can be made.
    works(new());
    println!("{}", reason());
}

/// What the doctor says in a worker, in a fork of the program, and when the template is dead.
fn reasons(_: &[String]) {
    let told = new().run(tell_reason).expect("it runs");
    assert!(told.wait().expect("its status is told").success());
    ends_well(in_fork(|| {
        println!("{}", reason());
        works(new());
        println!("{}", reason());
    }));
    let child = new().run(until_closed).expect("it runs");
    template_of(&child).signal(Signal::SIGKILL);
    assert!(child.wait().expect_err("nobody can tell").is_disconnected());
    println!("{}", reason());
    works(new());
    println!("{}", reason());
}
