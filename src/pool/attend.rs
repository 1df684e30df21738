//! Who reads while a thread takes the results of a map: that thread, and the hub keeps out.
//! Two threads, one of which hands out results while the other makes the next calls, would
//! spend most of their time waiting for each other's locks.
//!
//! ```text
//!            wants results               nothing has come
//!  AWAY ───────────────────▶ READING ───────────────────────▶ ASLEEP: the hub looks out,
//!   │ ▲                        │  ▲                           and reads
//!   │ └───── has some ─────────┘  └─────────── rung ───────────────┘
//!   └ longer than `AWAY`: the hub looks out, and reads
//! ```
//!
//! What must hold: whenever nobody is reading, each connection is watched by the hub, or
//! will be within twice `AWAY`. So whoever falls asleep first says that it is not reading any
//! more, and then has all of them watched; and the hub, when it has read, asks whether
//! somebody reads after it has given up the lead. All code of the user's but callbacks
//! (items of a map are made by it) runs while the thread is away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::core::Core;
use crate::error::Error;
use crate::hub::Timed;
use crate::lead::Seat;
use crate::left::Left;
use crate::rpc::pooled::Conn;

/// For so long nobody may read, before the hub does: a thread that takes results is back
/// much sooner, most often.
const AWAY: Duration = Duration::from_micros(300);
/// Frames of one worker that are handed out before those of others.
const TURN: usize = 64;
/// With more workers, the hub knows better which of them has said something.
const FEW: usize = 64;

pub(super) struct Attendance {
    core: Weak<Core>,
    /// Somebody attends, as far as one can see.
    any: AtomicBool,
    /// Which worker is read first.
    turn: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Threads that are reading.
    reading: usize,
    /// One of them has gone away, and none is reading or has fallen asleep since.
    away: bool,
    /// How often one has gone away; and how often, when the hub looked last.
    gone: u64,
    seen: u64,
    /// The hub will look.
    timed: bool,
}

impl State {
    fn is_attended(&self) -> bool {
        self.reading > 0 || self.away
    }

    fn begin(&mut self) {
        self.reading += 1;
        self.away = false;
    }

    /// The hub cannot look.
    fn forget_away(&mut self) {
        (self.away, self.timed) = (false, false);
    }
}

impl Attendance {
    pub(super) fn new(core: Weak<Core>) -> Arc<Attendance> {
        let (any, turn) = (AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Attendance { core, any, turn, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        self.any.store(state.is_attended(), Ordering::Release);
    }

    /// Somebody reads, or is away for a moment, and somebody will have all connections
    /// watched after that.
    pub(super) fn is_attended(&self) -> bool {
        self.lock().is_attended()
    }

    /// The same, or somebody has just stopped, and has all connections watched now.
    pub(super) fn seems_attended(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Forgets threads of another process, of which this one is a fork.
    pub(super) fn take_over(&self, left: &Left) -> Result<(), Error> {
        *left.lock(&self.state)? = State::default();
        self.any.store(false, Ordering::Release);
        Ok(())
    }
}

impl Timed for Attendance {
    fn hub_timer(self: Arc<Attendance>) {
        let Some(core) = self.core.upgrade() else { return };
        let (mut again, mut nobody) = (false, false);
        self.change(|state| {
            again = state.away && state.seen != state.gone;
            nobody = state.away && !again;
            state.away = again;
            state.seen = state.gone;
            state.timed = again;
        });
        if again && !core.look_after_readers() {
            self.change(State::forget_away);
            nobody = true;
        }
        if nobody {
            core.have_all_watched();
        }
    }
}

impl Core {
    fn conns(&self) -> Vec<Arc<Conn>> {
        self.lock().everybody().filter_map(|member| member.conn().map(Arc::clone)).collect()
    }

    /// There may be more of them than whoever asks knows.
    fn have_all_watched(&self) {
        for conn in self.conns() {
            conn.flush();
            conn.arm();
        }
    }

    /// Has the hub see whether somebody still reads. Whether it will.
    fn look_after_readers(&self) -> bool {
        let timed: Weak<Attendance> = Arc::downgrade(&self.attendance);
        self.home.hub().is_ok_and(|hub| {
            hub.at(Instant::now() + AWAY, timed);
            true
        })
    }
}

/// This thread reads, until it is dropped.
pub(super) struct Reading<'a> {
    core: &'a Core,
    conns: Vec<Arc<Conn>>,
}

impl<'a> Reading<'a> {
    /// Nothing where the thread must not wait, where there is too much to look at, and in a
    /// fork of the program, where what the workers say is for another.
    pub(super) fn begin(core: &'a Core) -> Option<Reading<'a>> {
        if core.cannot_wait() || core.check().is_err() {
            return None;
        }
        let conns = core.conns();
        if conns.len() > FEW {
            return None;
        }
        core.attendance.change(State::begin);
        Some(Reading { core, conns })
    }

    /// Hands out what has come, until that is `enough`; the hub looks out for nothing.
    /// Whether there may be more.
    pub(super) fn read(&mut self, enough: impl Fn() -> bool) -> bool {
        let mut more = false;
        let turn = self.core.attendance.turn.fetch_add(1, Ordering::Relaxed);
        let (first, last) = self.conns.split_at(turn % self.conns.len().max(1));
        for conn in last.iter().chain(first) {
            more |= conn.hand_out_here(if enough() { 0 } else { TURN });
        }
        more
    }

    /// Sleeps until `seat` is rung.
    pub(super) fn sleep(&mut self, seat: &Seat) {
        self.core.attendance.change(|state| state.reading -= 1);
        self.core.have_all_watched();
        seat.sleep(None);
        self.core.attendance.change(State::begin);
        self.conns = self.core.conns();
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut ask = false;
        self.core.attendance.change(|state| {
            state.reading -= 1;
            state.gone += 1;
            state.away = state.reading == 0;
            ask = state.away && !state.timed;
            if ask {
                state.timed = true;
                state.seen = state.gone;
            }
        });
        if ask && !self.core.look_after_readers() {
            self.core.attendance.change(State::forget_away);
            self.core.have_all_watched();
        }
    }
}
