//! Programs in kernels and containers that lack something, and what they are told.

use std::net::Shutdown;

use offshoot::Process;

use super::{Scene, until_closed, works};

pub(super) const SCENES: &[Scene] = &[("pidfd", pidfd), ("two_threads", two_threads)];

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
