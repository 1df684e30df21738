//! A daemon of several threads, each of which may be the first to use what it takes over.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use offshoot::{Child, Process};
use offshoot_tests::program::Watched;
use offshoot_tests::{DEADLINE, eventually, state};

use super::daemon::{become_daemon, closes_and_ends};
use super::{Scene, staying, until_closed, works};

pub(super) const SCENES: &[Scene] = &[("daemon_crowd", daemon_crowd)];

const GENERATIONS: usize = 20;
const THREADS: usize = 4;
/// To take them over takes a moment.
const MANY: usize = 800;

fn new() -> Process {
    Process::new().expect("processes can be made")
}

fn daemon_crowd(_: &[String]) {
    // Ends of connections that nobody serves, all taken over before the last.
    let many: Vec<_> = (0..MANY).map(|_| Process::from_fd(of_nobody())).collect();
    std::mem::forget(many);
    generation(GENERATIONS);
}

fn of_nobody() -> std::os::fd::OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    let flags = SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("there is room").0
}

/// Forks itself while a thread waits, and goes on with several in the fork.
fn generation(left: usize) {
    if left == 0 {
        println!("done");
        return;
    }
    let children: Vec<Child> =
        (0..THREADS).map(|_| new().run(until_closed).expect("it runs")).collect();
    let (tell, told) = channel();
    thread::spawn(move || {
        let child = staying(new());
        tell.send(nix::unistd::gettid().as_raw() as u32).expect("it is listened to");
        let _ = child.wait();
    });
    let waits = told.recv().expect("it is told");
    eventually(DEADLINE, "it waits", || state(waits) == Some('S'));
    let before = Watched::new(std::process::id());
    become_daemon(move || {
        assert!(before.gone_within(DEADLINE));
        let here = AtomicUsize::new(0);
        thread::scope(|s| {
            for child in &children {
                s.spawn(|| {
                    here.fetch_add(1, Ordering::SeqCst);
                    while here.load(Ordering::SeqCst) < THREADS {
                        thread::yield_now();
                    }
                    closes_and_ends(child);
                });
            }
        });
        works(new());
        generation(left - 1);
    });
}
