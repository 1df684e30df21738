//! A fork of the program waits until this library's own threads are between two turns: what
//! they hold at that moment, locks and half-done work, nobody has in the fork.
//!
//! It is done by the C library, in the process that forks (pthread_atfork(3)). A turn may call
//! the program's code, which may wait for what the thread that forks holds: so a fork waits for
//! a while, and then goes on. Whoever takes over there must see to locks that stay taken.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::alone::pthread_atfork;

/// A turn takes microseconds; longer only if the program's code runs in it, or others have
/// the CPU.
const PATIENCE: Duration = Duration::from_millis(100);

/// Turns that have been begun; and forks under way, each of which counts this much.
static UNDER_WAY: AtomicU32 = AtomicU32::new(0);
const FORK: u32 = 1 << 16;

thread_local! {
    /// This thread's turns: one, or one within another.
    static OWN: Cell<u32> = const { Cell::new(0) };
}

/// From now on forks wait for turns.
pub(crate) fn respect() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // SAFETY: the functions may be called in any thread that forks, and in the fork: they
        // use atomic numbers and system calls. If there is no memory to note them, forks
        // do not wait.
        unsafe { pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
    }
}

/// This thread is at work, until it is dropped.
pub(crate) struct Turn(());

impl Turn {
    /// Waits for the end of a fork that is under way.
    pub(crate) fn begin() -> Turn {
        if OWN.replace(OWN.get() + 1) == 0 {
            let start = Instant::now();
            let mut now = UNDER_WAY.load(Ordering::Relaxed);
            loop {
                // Many threads may fork, one after another.
                if now >= FORK && wait_while(now, start) {
                    now = UNDER_WAY.load(Ordering::Relaxed);
                    continue;
                }
                let begun = now.wrapping_add(1);
                let (good, failed) = (Ordering::Acquire, Ordering::Relaxed);
                match UNDER_WAY.compare_exchange_weak(now, begun, good, failed) {
                    Ok(_) => break,
                    Err(other) => now = other,
                }
            }
        }
        Turn(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if OWN.replace(OWN.get() - 1) == 1 {
            let before = UNDER_WAY.fetch_sub(1, Ordering::Release);
            if before >= FORK {
                wake();
            }
        }
    }
}

/// Waits until the number is another; whether there is patience left.
fn wait_while(number: u32, since: Instant) -> bool {
    let left = PATIENCE.saturating_sub(since.elapsed());
    if left.is_zero() {
        return false;
    }
    let left = libc::timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the number and the time live longer than the call, which only reads them.
    unsafe {
        libc::syscall(libc::SYS_futex, UNDER_WAY.as_ptr(), wait, number, ptr::from_ref(&left))
    };
    true
}

fn wake() {
    let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: nothing is read or written; the number lives for ever.
    unsafe { libc::syscall(libc::SYS_futex, UNDER_WAY.as_ptr(), wake, i32::MAX) };
}

unsafe extern "C" fn prepare() {
    let mut now = UNDER_WAY.fetch_add(FORK, Ordering::Acquire) + FORK;
    // Not for itself.
    let own = OWN.get().min(1);
    let start = Instant::now();
    while now % FORK > own && wait_while(now, start) {
        now = UNDER_WAY.load(Ordering::Acquire);
    }
}

unsafe extern "C" fn in_parent() {
    UNDER_WAY.fetch_sub(FORK, Ordering::Release);
    wake();
}

unsafe extern "C" fn in_child() {
    // The other threads are not here.
    UNDER_WAY.store(OWN.get().min(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    /// The exit status of a fork in which this is run.
    fn in_fork(run: impl FnOnce() -> i32) -> i32 {
        // SAFETY: what is run there looks at numbers, and takes no memory.
        match unsafe { fork() }.expect("it can be forked") {
            // SAFETY: it ends the process without a look at its memory. The alarm ends one
            // that hangs.
            ForkResult::Child => unsafe {
                libc::alarm(30);
                libc::_exit(run())
            },
            ForkResult::Parent { child } => match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, status)) => status,
                other => panic!("{other:?}"),
            },
        }
    }

    fn is_forking() -> bool {
        UNDER_WAY.load(Ordering::Acquire) >= FORK
    }

    #[test]
    fn a_fork_waits_for_the_end_of_a_turn() {
        static DONE: AtomicBool = AtomicBool::new(false);
        respect();
        let (begun, has_begun) = channel();
        let worker = thread::spawn(move || {
            let _turn = Turn::begin();
            let _nested = Turn::begin();
            begun.send(()).unwrap();
            while !is_forking() {
                thread::yield_now();
            }
            DONE.store(true, Ordering::Release);
        });
        has_begun.recv().unwrap();
        assert_eq!(in_fork(|| DONE.load(Ordering::Acquire).into()), 1);
        worker.join().unwrap();
        // And all can begin again.
        drop(Turn::begin());
    }

    #[test]
    fn a_fork_does_not_wait_for_ever_and_leaves_no_turn_behind() {
        respect();
        let (begun, has_begun) = channel();
        let (end, ended) = channel::<()>();
        let worker = thread::spawn(move || {
            let _turn = Turn::begin();
            begun.send(()).unwrap();
            let _ = ended.recv();
        });
        has_begun.recv().unwrap();
        let turns = in_fork(|| {
            drop(Turn::begin());
            UNDER_WAY.load(Ordering::Acquire) as i32
        });
        assert_eq!(turns, 0);
        drop(end);
        worker.join().unwrap();
    }

    #[test]
    fn whoever_forks_in_its_turn_has_it_in_both_processes() {
        respect();
        let turn = Turn::begin();
        let turns = in_fork(|| {
            let now = UNDER_WAY.load(Ordering::Acquire);
            drop(Turn::begin());
            (now * 10 + UNDER_WAY.load(Ordering::Acquire)) as i32
        });
        assert_eq!(turns, 11);
        drop(turn);
    }
}
