//! The parent's end of a worker's stream: makes calls, and gives replies and events to
//! those who are to have them.
//!
//! Replies and events are handed out by one thread at a time, in the order in which they
//! came: by whoever waits for a reply (`lead.rs`), else by the hub. A waiting thread hands
//! out no more than up to its own reply, so what it does next comes before what the
//! worker said next.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::call::Complete;
use super::frame::{Frame, give_scratch};
use super::handlers::Handlers;
use super::inbox::Inbox;
use super::spin::Spin;
use super::worker::Style;
use crate::child::Child;
use crate::error::{Error, Fault};
use crate::exited::Exited;
use crate::home::{self, Home};
use crate::hub::Interest;
use crate::lead::{Lead, Seat};
use crate::sys::forked::Birthmark;
use crate::sys::ring::Ring;

mod book;
mod end;
mod hand_out;
mod owner;
mod receive;
mod refused;
mod release;
mod send;
mod state;
mod watch;

pub(crate) use book::{Ticket, Time};
pub(crate) use hand_out::Inside;
use state::{SEND_WITHIN, State};

/// With no more calls open than this, one is sent at once, by the thread that makes it.
const AT_ONCE: usize = 8;
/// With so many bytes waiting, too.
const WORTH_SENDING: usize = 32 * 1024;
/// With so many calls open, replies are worth a faster way.
const WORTH_A_RING: usize = 16;

pub(crate) struct Conn {
    home: &'static Home,
    mark: Birthmark,
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
    me: Weak<Conn>,
    hub_key: AtomicU64,
    watched: AtomicBool,
    /// The hub has been asked to look out again, a little later.
    arm_asked: AtomicBool,
    /// The stream has ended, as the reader knows.
    read_ended: AtomicBool,
    interest: Mutex<Interest>,
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

/// What to do with a call for which there is no room.
pub(super) enum Full {
    Wait,
    Refuse,
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

thread_local! {
    /// Connections whose callbacks this thread is in.
    /// With their pools, or 0.
    static CALLING_BACK: RefCell<Vec<(*const Conn, usize)>> = const { RefCell::new(Vec::new()) };
}

/// Whether this thread is in a callback of a pool.
pub(crate) fn is_in_callback_of(pool: usize) -> bool {
    CALLING_BACK.with(|c| c.borrow().iter().any(|(_, owner)| *owner == pool))
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
            child,
            style,
            max_open: limits.max_open,
            max_queued: limits.max_queued,
            timeout: limits.timeout,
            keep_after_panic: limits.keep_after_panic,
            lead: Lead::new(),
            reader: Mutex::new(Reader {
                inbox: Inbox::new(limits.max_reply),
                spin: Spin::new(limits.spin),
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
            me: me.clone(),
            hub_key: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            arm_asked: AtomicBool::new(false),
            read_ended: AtomicBool::new(false),
            interest: Mutex::default(),
            kept: Mutex::default(),
        });
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

    fn has_room(&self, state: &State) -> bool {
        state.book.open() < self.max_open
            && (state.outbox.bytes() < self.max_queued || state.outbox.is_empty())
    }

    fn has_room_or_fault(&self) -> Option<()> {
        let state = self.state();
        (state.fault.is_some() || self.has_room(&state)).then_some(())
    }

    /// Makes a call of a frame.
    pub(super) fn submit(
        &self,
        frame: Frame,
        slot: &Arc<impl Complete + 'static>,
        full: &Full,
    ) -> Result<Ticket, Error> {
        self.check()?;
        let mut frame = Some(frame);
        loop {
            match self.try_submit(&mut frame, slot)? {
                Some(ticket) => return Ok(ticket),
                None if matches!(full, Full::Refuse) || self.is_calling_back() => {
                    return Err(Fault::Full.into());
                }
                None => self.wait_for_room(),
            }
        }
    }

    /// The same, if there is room; else the frame stays.
    pub(super) fn try_submit(
        &self,
        frame: &mut Option<Frame>,
        slot: &Arc<impl Complete + 'static>,
    ) -> Result<Option<Ticket>, Error> {
        let deadline = self.timeout.and_then(|t| Instant::now().checked_add(t));
        let time = deadline.map_or(Time::Any, Time::Until);
        self.place(frame, time, || Arc::clone(slot) as Arc<dyn Complete>)
    }

    /// The same, for whoever is told of the outcome.
    pub(crate) fn place(
        &self,
        frame: &mut Option<Frame>,
        time: Time,
        slot: impl FnOnce() -> Arc<dyn Complete>,
    ) -> Result<Option<Ticket>, Error> {
        let mut state = self.state();
        if let Some(fault) = &state.fault {
            return Err(fault.clone().into());
        }
        if !self.has_room(&state) {
            return Ok(None);
        }
        if state.book.open() == WORTH_A_RING && !std::mem::replace(&mut state.ring_offered, true) {
            self.offer_ring(&mut state);
        }
        let mut frame = frame.take().expect("it is made of one frame");
        frame.set_call(state.book.next());
        let alone = matches!(time, Time::Any) && state.book.open() < AT_ONCE;
        if alone && !state.writing && !state.cut_off && state.outbox.can_pass(&frame) {
            let (place, chunk) = state.outbox.pass(frame);
            let ticket = state.book.add(slot(), place, time);
            self.send(state, Some(chunk));
            return Ok(Some(ticket));
        }
        let (place, spare) = state.outbox.push(frame);
        give_scratch(spare);
        let ticket = state.book.add(slot(), place, time);
        state.held = false;
        state.unsent += 1;
        let set_timer = match time {
            Time::Any => None,
            _ if std::mem::replace(&mut state.timer_set, true) => None,
            _ => state.book.next_deadline(),
        };
        let now = state.book.open() <= AT_ONCE
            || state.outbox.bytes() >= WORTH_SENDING
            || state.is_worker_hungry();
        let ask = !now && !state.writing && !std::mem::replace(&mut state.send_asked, true);
        let ask = ask.then(|| state.send_time());
        if now && set_timer.is_none() {
            self.flush_with(state);
            return Ok(Some(ticket));
        }
        drop(state);
        if let Some(deadline) = set_timer {
            self.set_timer(deadline)?;
        }
        if now || ask.is_some_and(|time| self.set_timer(time).is_err()) {
            self.flush();
        }
        Ok(Some(ticket))
    }

    /// Tells the worker what it is, if that waits for its first call.
    pub(crate) fn begin(&self) {
        self.state().held = false;
        self.flush();
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

    /// Offers the worker memory for its replies. Without it (out of descriptors, perhaps)
    /// they come by the stream.
    fn offer_ring(&self, state: &mut State) {
        if let Ok((ring, file)) = Ring::create()
            && self.ring.set(ring).is_ok()
        {
            state.outbox.push(Frame::ring(file));
        }
    }

    fn wait_for_room(&self) {
        let seat = Seat::new();
        self.state().room.push(Arc::clone(&seat));
        self.wait(|| Arc::clone(&seat), None, || self.has_room_or_fault());
        self.state().room.retain(|s| !Arc::ptr_eq(s, &seat));
    }

    /// Has `waker` woken when there may be room.
    pub(super) fn wake_for_room(&self, waker: &Waker) -> Result<(), Error> {
        let mut state = self.state();
        if state.fault.is_some() || self.has_room(&state) {
            drop(state);
            waker.wake_by_ref();
            return Ok(());
        }
        if !state.room_wakers.iter().any(|w| w.will_wake(waker)) {
            state.room_wakers.push(waker.clone());
        }
        drop(state);
        self.watch()
    }

    fn tell_room(&self, mut state: MutexGuard<'_, State>) {
        if (state.room.is_empty() && state.room_wakers.is_empty()) || !self.has_room(&state) {
            return;
        }
        let (seats, wakers) = (state.room.clone(), std::mem::take(&mut state.room_wakers));
        drop(state);
        seats.iter().for_each(|s| s.ring());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Some results are for callbacks: somebody has to read them.
    pub(super) fn call_back(&self) -> Result<(), Error> {
        if !self.calls_back.swap(true, Ordering::Relaxed) {
            self.watch()?;
        }
        Ok(())
    }

    pub(crate) fn is_calling_back(&self) -> bool {
        let me = std::ptr::from_ref(self);
        CALLING_BACK.with(|c| c.borrow().iter().any(|(conn, _)| *conn == me))
    }
}
