//! Leader and followers: who reads a socket on which answers for several threads
//! arrive.
//!
//! Waking another thread costs a fifth of a whole process here, so no answer
//! passes through a second thread while somebody waits for it: whoever waits reads
//! the socket itself if nobody else does (it *leads*), gives others what belongs to
//! them, and passes the lead on when it has its own.
//!
//! ```text
//!            nobody reads                    somebody reads
//! free ──────────────────────▶ LEADING     ──────────────────▶ FOLLOWING (asleep on its seat)
//!            └─ pump: read one message, hand it out ─┐                 │
//!                     ▲                              │ not mine: again  │ rung: mine has come,
//!                     └──────────────────────────────┤                  │ or the lead is free
//!            mine, or out of time: LEAVE ◀───────────┘                  ▼
//!            ring the next follower                             look, lead, or sleep again
//! ```
//!
//! What must hold: (1) one leads at most; (2) whenever followers sleep and nobody
//! leads, one of them has been rung and has not looked yet; (3) a follower whose
//! answer has come has been rung; (4) nobody pumps whose answer has come. For (2)
//! everyone who leaves, for whatever reason, calls `hand_on`, unless it neither led nor
//! followed, and so has not been rung for the lead; for (3) a seat is known to
//! its answer's slot before the slot is looked at, and a ring is kept until somebody
//! sleeps through it; for (4) one looks once more after taking the lead. The model test
//! in `tests/model` runs this file under many interleavings.

use std::collections::VecDeque;
use std::sync::TryLockError;

use crate::sync::{Arc, Condvar, Instant, Mutex, MutexGuard};

/// Where one waiting thread sleeps. A ring before the sleep is not lost.
pub(crate) struct Seat {
    state: Mutex<Rest>,
    bell: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Awake,
    Asleep,
    Rung,
}

impl Seat {
    pub(crate) fn new() -> Arc<Seat> {
        Arc::new(Seat { state: Mutex::new(Rest::Awake), bell: Condvar::new() })
    }

    pub(crate) fn ring(&self) {
        let before = std::mem::replace(&mut *lock(&self.state), Rest::Rung);
        // One who is awake (the leader itself, most often) costs no system call.
        if before == Rest::Asleep {
            self.bell.notify_one();
        }
    }

    pub(crate) fn sleep(&self, deadline: Option<Instant>) {
        let mut state = lock(&self.state);
        while *state != Rest::Rung {
            *state = Rest::Asleep;
            state = match deadline {
                None => self.bell.wait(state).unwrap_or_else(|e| e.into_inner()),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.bell.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0
                }
            };
        }
        *state = Rest::Awake;
    }
}

/// Who reads, and who waits for the turn.
pub(crate) struct Lead {
    turn: Mutex<Turn>,
}

struct Turn {
    leading: bool,
    followers: VecDeque<Arc<Seat>>,
}

impl Lead {
    pub(crate) fn new() -> Lead {
        Lead { turn: Mutex::new(Turn { leading: false, followers: VecDeque::new() }) }
    }

    /// Waits until `done` has a result, or the deadline has passed (`None`).
    ///
    /// `pump` reads what comes next, waiting for it no longer than the deadline, and
    /// hands it out; it is called by one thread at a time, with no lock held. `seat`
    /// must be rung by whoever makes `done` true, from before this is called.
    pub(crate) fn wait<T>(
        &self,
        seat: &Arc<Seat>,
        deadline: Option<Instant>,
        done: impl FnMut() -> Option<T>,
        pump: impl FnMut(Option<Instant>),
    ) -> Option<T> {
        self.wait_on(|| Arc::clone(seat), deadline, done, pump)
    }

    /// The same, for one who most often leads, and needs no seat then: `sit` makes one
    /// that will be rung, from when it returns.
    pub(crate) fn wait_on<T>(
        &self,
        mut sit: impl FnMut() -> Arc<Seat>,
        deadline: Option<Instant>,
        mut done: impl FnMut() -> Option<T>,
        mut pump: impl FnMut(Option<Instant>),
    ) -> Option<T> {
        let mut seat = None;
        let mut followed = false;
        loop {
            if let Some(result) = done() {
                if followed {
                    self.hand_on();
                }
                return Some(result);
            }
            let mut turn = lock(&self.turn);
            if !turn.leading {
                turn.leading = true;
                drop(turn);
                let _leads = Leads(self);
                // Who led before may have handed it out since it was looked for; now
                // nobody else can.
                loop {
                    match done() {
                        Some(result) => return Some(result),
                        None if is_past(deadline) => return None,
                        None => pump(deadline),
                    }
                }
            }
            match &seat {
                None => {
                    // Between looking and sitting it may have come: look again.
                    drop(turn);
                    seat = Some(sit());
                }
                Some(seat) => {
                    turn.followers.push_back(Arc::clone(seat));
                    drop(turn);
                    followed = true;
                    seat.sleep(deadline);
                    lock(&self.turn).followers.retain(|s| !Arc::ptr_eq(s, seat));
                    if is_past(deadline) {
                        let result = done();
                        self.hand_on();
                        return result;
                    }
                }
            }
        }
    }

    /// Reads what is there now, on behalf of those who do not wait, unless somebody
    /// leads already. `pump` must not block.
    pub(crate) fn poll(&self, pump: impl FnOnce()) {
        {
            let mut turn = lock(&self.turn);
            if turn.leading {
                return;
            }
            turn.leading = true;
        }
        let _leads = Leads(self);
        pump();
    }

    /// Gives the lead up.
    fn leave(&self) {
        let mut turn = lock(&self.turn);
        turn.leading = false;
        if let Some(next) = turn.followers.front() {
            next.ring();
        }
    }

    fn hand_on(&self) {
        let turn = lock(&self.turn);
        if !turn.leading
            && let Some(next) = turn.followers.front()
        {
            next.ring();
        }
    }

    /// Runs `f` if nobody leads and nobody waits to; nobody can begin meanwhile.
    pub(crate) fn if_idle(&self, f: impl FnOnce()) {
        let turn = lock(&self.turn);
        if !turn.leading && turn.followers.is_empty() {
            f();
        }
    }

    /// Forgets who led and who waited: they were threads of another process, of
    /// which this one is a fork. Not if one of them has the lock.
    pub(crate) fn try_reset(&self) -> Option<()> {
        let mut turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        turn.leading = false;
        turn.followers.clear();
        Some(())
    }
}

/// Gives the lead up when it is dropped, also by a panic of whoever is called meanwhile.
struct Leads<'a>(&'a Lead);

impl Drop for Leads<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|d| d <= Instant::now())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
