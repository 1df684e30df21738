//! The parent's end of a worker's stream: makes calls, and gives replies and events to
//! those who are to have them.
//!
//! Replies and events are handed out by one thread at a time, in the order in which they
//! came: by whoever waits for a reply (`lead.rs`), else by the hub. A waiting thread hands
//! out no more than up to its own reply, so what it does next comes before what the
//! worker said next.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::frame::Frame;
use super::handlers::Handlers;
use super::inbox::Inbox;
use super::spin::{PARENT_RESTS, Spin};
use super::worker::Style;
use crate::child::Child;
use crate::error::Error;
use crate::exited::Exited;
use crate::home::{self, Home};
use crate::hub::Interest;
use crate::lead::Lead;
use crate::left::Left;
use crate::sys::forked::Birthmark;
use crate::sys::ring::Ring;

mod bell;
mod book;
mod end;
mod fill;
mod hand_out;
mod inside;
mod look;
mod owner;
mod receive;
mod refused;
mod release;
mod room;
mod send;
mod state;
mod submit;
mod watch;

use bell::Bell;
pub(crate) use book::{Ticket, Time};
pub(crate) use inside::{Inside, is_in_callback_of};
pub(crate) use look::{LOOKS_AGAIN, Look};
pub(super) use room::AwaitsRoom;
use state::{SEND_WITHIN, State};
pub(super) use submit::Full;

/// A process that has been waiting answers its first call within this time, if that does
/// little: half of what its fork has cost in CPU time, and two thirds of that the waking.
const ANSWERS_WITHIN: Duration = Duration::from_micros(60);

pub(crate) struct Conn {
    home: &'static Home,
    mark: Birthmark,
    left: Left,
    pub(crate) child: Child,
    style: Style,
    max_open: usize,
    max_queued: usize,
    timeout: Option<Duration>,
    keep_after_panic: bool,
    lead: Lead,
    /// Of whoever leads.
    reader: Mutex<Reader>,
    state: Mutex<State>,
    pub(super) handlers: Handlers,
    /// Results go to callbacks.
    calls_back: AtomicBool,
    /// The end of the process, once the stream has ended.
    exit: Mutex<Option<Exited>>,
    /// Made once it is worth it.
    ring: OnceLock<Ring>,
    /// Bytes of the stream that have been handed out, and so what comes next in the ring.
    position: AtomicU64,
    /// The same, of the ring.
    position_in_ring: AtomicU64,
    /// Bytes of it that have been received, or what whoever reads does; see `look.rs`.
    received: AtomicU64,
    me: Weak<Conn>,
    hub_key: AtomicU64,
    watched: AtomicBool,
    /// The hub has been asked to look out again, a little later.
    arm_asked: AtomicBool,
    /// The stream has ended, as the reader knows.
    read_ended: AtomicBool,
    interest: Mutex<Interest>,
    bell: Bell,
    /// Itself, while it has to live on without a handle.
    kept: Mutex<Option<Arc<Conn>>>,
}

struct Reader {
    inbox: Inbox,
    spin: Spin,
    /// When the stream ended.
    ended: Option<Instant>,
    /// When the process was killed since it did not end by itself.
    killed: Option<Instant>,
    /// What is left of it is not to be read.
    broken: bool,
    record: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_open: usize,
    /// Bytes of calls that may wait to be sent before more calls have to wait.
    pub(crate) max_queued: usize,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_reply: u32,
    pub(crate) spin: bool,
    pub(crate) keep_after_panic: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Conn {
    pub(super) fn new(
        child: Child,
        style: Style,
        limits: Limits,
        handlers: Handlers,
        hello: Frame,
        hold: bool,
    ) -> Result<Arc<Conn>, Error> {
        let mut state = State { held: hold, ..State::default() };
        state.outbox.push(hello);
        let home = home::current()?;
        let conn = Arc::new_cyclic(|me| Conn {
            home,
            mark: Birthmark::new(),
            left: Left::default(),
            child,
            style,
            max_open: limits.max_open,
            max_queued: limits.max_queued,
            timeout: limits.timeout,
            keep_after_panic: limits.keep_after_panic,
            lead: Lead::new(),
            reader: Mutex::new(Reader {
                inbox: Inbox::of_parent(limits.max_reply),
                spin: Spin::new(limits.spin, PARENT_RESTS),
                ended: None,
                killed: None,
                broken: false,
                record: Vec::new(),
            }),
            state: Mutex::new(state),
            handlers,
            calls_back: AtomicBool::new(false),
            exit: Mutex::default(),
            ring: OnceLock::new(),
            position: AtomicU64::new(0),
            position_in_ring: AtomicU64::new(0),
            received: AtomicU64::new(0),
            me: me.clone(),
            hub_key: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            arm_asked: AtomicBool::new(false),
            read_ended: AtomicBool::new(false),
            interest: Mutex::default(),
            bell: Bell::default(),
            kept: Mutex::default(),
        });
        conn.hang_up_at_end();
        conn.flush();
        // A pool has to know it first.
        if conn.handlers.any() && !hold {
            conn.watch()?;
        }
        Ok(conn)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Tells the worker what it is, if that waits for its first call.
    pub(crate) fn begin(&self) {
        self.state().held = false;
        self.flush();
    }

    /// The process is there, and waits for what it has been sent: whoever waits for the
    /// answer looks for it first.
    pub(crate) fn answers_soon(&self) {
        // Whoever has it waits already.
        if let Ok(mut reader) = self.reader.try_lock() {
            reader.spin.expect_within(ANSWERS_WITHIN);
        }
    }

    /// Ends the process; its calls learn why.
    pub(crate) fn end_now(&self, why: &'static str) {
        self.state().killed.get_or_insert(why);
        self.child.kill_soon();
    }

    /// The stream ends, as if the worker had closed it.
    #[cfg(feature = "testing")]
    pub(crate) fn cut_stream(&self) -> std::io::Result<()> {
        self.child.stream().shutdown(std::net::Shutdown::Both)
    }

    /// Some results are for callbacks: somebody has to read them.
    pub(super) fn call_back(&self) -> Result<(), Error> {
        if !self.calls_back.swap(true, Ordering::Relaxed) {
            self.watch()?;
        }
        Ok(())
    }
}
