//! A program whose handlers run all the time, while it waits.

use std::io::{Read, Write};
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use offshoot::{Process, Start};
use offshoot_tests::program::at_once;

use super::{Scene, template_of};

pub(super) const SCENES: &[Scene] = &[("interrupted", interrupted)];

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handled(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

#[allow(unsafe_code)]
fn handle_alarms() {
    // No call is begun anew after this handler.
    let action = SigAction::new(SigHandler::Handler(handled), SaFlags::empty(), SigSet::empty());
    // SAFETY: it only adds.
    unsafe { sigaction(Signal::SIGALRM, &action) }.expect("it can be set");
}

#[allow(unsafe_code)]
fn interrupt<T>(thread: &JoinHandle<T>) {
    // SAFETY: it has not been joined.
    unsafe { libc::pthread_kill(thread.as_pthread_t() as libc::pthread_t, libc::SIGALRM) };
}

#[offshoot::entry]
fn begins(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(b"!")?;
    start.stream.read_to_end(&mut Vec::new()).map(|_| ())
}

/// The template is dead, and only the kernel can tell of the process, which lives on.
fn interrupted(_: &[String]) {
    handle_alarms();
    let child = Process::new().and_then(|p| p.detach().run(begins)).expect("it runs");
    // It is no longer tied to its template.
    child.stream().read_exact(&mut [0]).expect("it has begun");
    let _pidfd = child.pidfd().expect("it runs");
    let template = template_of(&child);
    template.signal(Signal::SIGKILL);
    assert!(template.gone_within(at_once()));

    let short = Duration::from_millis(100);
    let stream = child.stream().try_clone().expect("it can be duplicated");
    let for_good = Arc::new(AtomicBool::new(false));
    let waiter = thread::spawn({
        let for_good = Arc::clone(&for_good);
        move || {
            let begun = Instant::now();
            assert!(child.wait_timeout(short).expect("it runs").is_none());
            assert!(begun.elapsed() >= short, "it was not waited for");
            for_good.store(true, Ordering::Release);
            child.wait()
        }
    });
    let (mut sent, mut left) = (0, 100);
    while left > 0 && !waiter.is_finished() {
        left -= u32::from(for_good.load(Ordering::Acquire));
        interrupt(&waiter);
        sent += 1;
        while HANDLED.load(Ordering::Relaxed) < sent && !waiter.is_finished() {
            thread::yield_now();
        }
    }
    stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    match waiter.join().expect("it does not panic") {
        Ok(status) => println!("{status}"),
        Err(error) => println!("disconnected: {}", error.is_disconnected()),
    }
}
