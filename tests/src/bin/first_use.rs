//! Two threads use the library first at the same moment: one is held up at one of its
//! allocations, which the first argument counts, until the other has had its process; or
//! (`fork`) until a fork of the program has had one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use offshoot::{Process, Start};

/// Longer than a process takes. Where the thread holds a lock, the other one waits for it, and
/// it is not to wait for the other for ever.
const HELD_MS: u16 = 200;

#[global_allocator]
static HOLDS_UP: HoldsUp = HoldsUp;

struct HoldsUp;

thread_local! {
    /// Allocations that are left before this thread is held up; 0 is never.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

/// Written to, to tell that the thread is held up, and what is closed when it may go on.
static GATES: OnceLock<(PipeWriter, PipeReader)> = OnceLock::new();

fn hold_up() {
    let left = LEFT.get();
    LEFT.set(left.saturating_sub(1));
    if left != 1 {
        return;
    }
    let (held, open) = GATES.get().expect("they are made before");
    let _ = nix::unistd::write(held, b"!");
    let mut polled = [PollFd::new(open.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut polled, PollTimeout::from(HELD_MS));
}

#[allow(unsafe_code)]
// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for HoldsUp {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold_up();
        // SAFETY: what the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: what the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[offshoot::entry]
fn ends(_start: Start) {}

fn one_process() {
    let child = Process::new().and_then(|p| p.run(ends)).expect("it is made");
    assert!(child.wait().expect("its status is told").success());
}

/// Runs `here` in a fork of this process, in which the other thread is not.
#[allow(unsafe_code)]
fn in_fork(here: impl FnOnce()) {
    use nix::unistd::ForkResult;
    // SAFETY: the other thread is where it is to be shown to do no harm.
    match unsafe { nix::unistd::fork() }.expect("it can be forked") {
        ForkResult::Parent { child } => {
            let ended = nix::sys::wait::waitpid(child, None);
            assert_eq!(ended, Ok(nix::sys::wait::WaitStatus::Exited(child, 0)));
        }
        ForkResult::Child => {
            // SAFETY: a number. What hangs is ended.
            unsafe { libc::alarm(30) };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(here));
            // SAFETY: ends the process.
            unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) }
        }
    }
}

#[offshoot::main]
fn main() {
    let count = std::env::args().nth(1).expect("a number").parse().expect("a number");
    let (mut held, tells) = pipe().expect("a pipe");
    let (open, opens) = pipe().expect("a pipe");
    GATES.set((tells, open)).expect("once");
    thread::scope(|s| {
        let first = s.spawn(move || {
            LEFT.set(count);
            one_process();
            // It makes no more allocations than these.
            if LEFT.replace(0) > 0 {
                println!("never held up");
                hold_up_no_more();
            }
        });
        held.read_exact(&mut [0]).expect("it is told");
        match std::env::args().nth(2).as_deref() {
            Some("fork") => in_fork(one_process),
            _ => one_process(),
        }
        drop(opens);
        first.join().expect("it does not panic");
    });
    one_process();
    println!("{:?}", offshoot::doctor().road);
}

fn hold_up_no_more() {
    let (held, _) = GATES.get().expect("they are made before");
    nix::unistd::write(held, b"!").expect("it is listened to");
}
