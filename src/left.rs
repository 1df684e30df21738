//! Locks that a fork of the program has found: a thread that is not there may have them.
//!
//! Which it is cannot be told from the lock, only from how long it stays taken. So threads of the
//! fork that take over the same object do it one after the other, and none takes what another
//! one does for a thread that is not there, however busy the machine is.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};
use crate::sys::{forked, futex};

/// Longer than any thread that is here has one of them, before it knows whose it is. (As in
/// `sys/turns.rs`.)
pub(crate) const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 2_000 } else { 500 });

/// Of one object that another process has left behind.
#[derive(Default)]
pub(crate) struct Left {
    /// One of its locks stays taken.
    locked: AtomicBool,
    /// The number of the process in which a thread takes the object over, or 0; or that of one
    /// that this one was forked from meanwhile.
    taker: AtomicU32,
}

/// This thread takes the object over, and no other one does, until it is dropped.
pub(crate) struct Taking<'a> {
    taker: &'a AtomicU32,
    here: u32,
}

impl Left {
    /// Once no other thread of this process does. To be asked for by one that has not done so
    /// already, and calls nothing of the program's before it has let go of it.
    pub(crate) fn take(&self) -> Taking<'_> {
        let here = forked::own_number();
        loop {
            let other = self.taker.load(Ordering::Relaxed);
            if other == here {
                futex::sleep_on(&self.taker, here, None);
                continue;
            }
            let (good, failed) = (Ordering::Acquire, Ordering::Relaxed);
            if self.taker.compare_exchange(other, here, good, failed).is_ok() {
                return Taking { taker: &self.taker, here };
            }
        }
    }

    /// Waits for the lock, but not for ever; and after that has been in vain, for none of
    /// this object's any more.
    pub(crate) fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> Result<MutexGuard<'a, T>, Error> {
        self.wait_for(|| match mutex.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
    }

    /// The same, whatever has the lock.
    pub(crate) fn wait_for<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            if let Some(done) = attempt() {
                return Ok(done);
            }
            if self.locked.load(Ordering::Relaxed) || start.elapsed() >= PATIENCE {
                self.locked.store(true, Ordering::Relaxed);
                return Err(Kind::LeftLocked.into());
            }
            // There is no waiting for a lock of the standard library for some time only. This
            // is seldom, and short.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        // Not for a thread of a fork that was made meanwhile.
        let _ = self.taker.compare_exchange(self.here, 0, Ordering::Release, Ordering::Relaxed);
        futex::wake(self.taker);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn one_takes_at_a_time_and_what_a_process_before_began_counts_for_nothing() {
        let here = forked::own_number();
        assert_ne!(here, 0);
        // As in a fork that was made meanwhile.
        let left = Left { taker: AtomicU32::new(here + 1), ..Left::default() };
        let taking = AtomicU32::new(0);
        thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    for _ in 0..1_000 {
                        let _taking = left.take();
                        assert_eq!(taking.fetch_add(1, Ordering::Relaxed), 0);
                        thread::yield_now();
                        taking.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
        });
        // A thread that is here still, but was in the process before, does not end another's.
        let of_before = left.take();
        left.taker.store(here + 1, Ordering::Relaxed);
        drop(of_before);
        assert_eq!(left.taker.load(Ordering::Relaxed), here + 1);
    }

    #[test]
    fn a_lock_is_waited_for_and_poison_does_no_harm() {
        let (left, mutex) = (Left::default(), Arc::new(Mutex::new(7)));
        let poisoner = Arc::clone(&mutex);
        let (locked, is_locked) = channel();
        let other = thread::spawn(move || {
            let _guard = poisoner.lock().unwrap();
            locked.send(()).unwrap();
            // Without a word: to print where it came from takes longer than the lock is
            // waited for, if the machine is busy.
            resume_unwind(Box::new(()));
        });
        is_locked.recv().unwrap();
        assert_eq!(*left.lock(&mutex).unwrap(), 7);
        assert!(other.join().is_err() && mutex.is_poisoned());
        assert_eq!(*left.lock(&mutex).unwrap(), 7);
    }

    #[test]
    fn a_lock_that_stays_taken_is_an_error_and_the_next_comes_at_once() {
        let (left, mutex) = (Left::default(), Mutex::new(()));
        let _guard = mutex.lock().unwrap();
        let error = left.lock(&mutex).unwrap_err();
        assert!(error.is_not_owner(), "{error:?}");
        assert!(error.to_string().contains("make a new one"), "{error}");
        // Of thousands, none waits again: so often would take an hour.
        for _ in 0..2_000 {
            left.lock(&mutex).unwrap_err();
        }
        let free = Mutex::new(());
        assert!(left.lock(&free).is_ok());
    }
}
