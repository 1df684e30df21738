//! Locks that a fork of the program has found: a thread that is not there may have them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};

/// Longer than any thread that is here has one of them, while it takes over the same, on a
/// machine that is busy. (As in `sys/turns.rs`.)
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 2_000 } else { 500 });

/// Of one object that another process has left behind.
#[derive(Default)]
pub(crate) struct Left {
    /// One of its locks stays taken.
    locked: AtomicBool,
}

impl Left {
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

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

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
