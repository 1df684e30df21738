//! The one background thread, which exists from the first future, channel, callback or
//! timer on: it reads sockets on which nobody waits in person, writes what had no room,
//! and keeps deadlines.
//!
//! Its interest in a socket is spent by each event (EPOLLONESHOT). It is armed again
//! when the one who leads there leaves (`Link::arm`), and paused while somebody does.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::SigSet;

use crate::sys::timer::Timer;
use crate::sys::turns::{self, Turn};

const EVENTS: usize = 64;
/// The timer's key; no socket has it.
const TIMER: u64 = 0;

/// Whoever can be called at a time.
pub(crate) trait Timed: Send + Sync {
    /// A time that was asked for has come.
    fn hub_timer(self: Arc<Self>);
}

/// A socket that the hub looks after.
pub(crate) trait Watched: Send + Sync {
    fn socket(&self) -> BorrowedFd<'_>;
    /// Where the hub keeps its name for it; 0 is none.
    fn hub_key(&self) -> &AtomicU64;
    /// There is something to read or room to write, and the interest is spent.
    fn hub_event(self: Arc<Self>);
}

/// What to look out for on a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

pub(crate) struct Hub {
    epoll: Epoll,
    timer: Timer,
    known: Mutex<Known>,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Known {
    sockets: BTreeMap<u64, Weak<dyn Watched>>,
    made: u64,
}

#[derive(Default)]
struct Times {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    whose: BTreeMap<u64, Weak<dyn Timed>>,
    made: u64,
}

thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the hub's thread.
pub(crate) fn is_here() -> bool {
    HERE.get()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Hub {
    /// Starts the thread. It ends with the process; it keeps nothing alive.
    pub(crate) fn start() -> io::Result<Arc<Hub>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let epoll = Epoll(crate::sys::fds::above_stdio(epoll.0)?);
        let timer = Timer::new()?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let (known, times) = (Mutex::default(), Mutex::default());
        let hub = Arc::new(Hub { epoll, timer, known, times });
        let run = {
            let hub = Arc::clone(&hub);
            move || {
                HERE.set(true);
                // Signals of the program are for its own threads.
                let _ = SigSet::all().thread_block();
                loop {
                    hub.turn();
                }
            }
        };
        turns::respect();
        thread::Builder::new().name("offshoot-hub".to_owned()).spawn(run)?;
        Ok(hub)
    }

    fn turn(&self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        // An interrupted wait is an empty one.
        let count = self.epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        // A fork of the program that goes on has none of what this holds meanwhile.
        let _turn = Turn::begin();
        for event in &events[..count] {
            if event.data() == TIMER {
                self.ring();
                continue;
            }
            let watched = lock(&self.known).sockets.get(&event.data()).and_then(Weak::upgrade);
            if let Some(watched) = watched {
                unharmed(|| watched.hub_event());
            }
        }
    }

    /// Makes a socket known, without interest in it, unless it is: several threads may
    /// watch it first.
    pub(crate) fn add(&self, watched: &Arc<dyn Watched>) -> io::Result<()> {
        let mut known = lock(&self.known);
        if key(&**watched).is_some() {
            return Ok(());
        }
        known.sockets.retain(|_, w| w.strong_count() > 0);
        let key = known.made + 1;
        self.epoll.add(watched.socket(), EpollEvent::new(EpollFlags::EPOLLONESHOT, key))?;
        known.made = key;
        known.sockets.insert(key, Arc::downgrade(watched));
        watched.hub_key().store(key, Ordering::Release);
        Ok(())
    }

    pub(crate) fn set(&self, watched: &dyn Watched, interest: Interest) {
        let Some(key) = key(watched) else { return };
        let mut flags = EpollFlags::EPOLLONESHOT;
        flags.set(EpollFlags::EPOLLIN, interest.read);
        flags.set(EpollFlags::EPOLLOUT, interest.write);
        // It cannot fail for a descriptor that is in the set and open.
        let _ = self.epoll.modify(watched.socket(), &mut EpollEvent::new(flags, key.get()));
    }

    /// Will call `hub_timer`, once, at that time or a little later.
    pub(crate) fn at(&self, time: Instant, whose: Weak<dyn Timed>) {
        let mut times = lock(&self.times);
        times.made += 1;
        let key = times.made;
        times.whose.insert(key, whose);
        let first = times.heap.peek().is_none_or(|Reverse((first, _))| time < *first);
        times.heap.push(Reverse((time, key)));
        // Setting it costs several times as much as all of the rest.
        if first {
            self.set_timer(&times);
        }
    }

    fn set_timer(&self, times: &Times) {
        let Some(Reverse((first, _))) = times.heap.peek() else { return };
        self.timer.set(first.saturating_duration_since(Instant::now()));
    }

    fn ring(&self) {
        self.timer.reset();
        let mut due = Vec::new();
        {
            let mut times = lock(&self.times);
            let now = Instant::now();
            while let Some(Reverse((time, key))) = times.heap.peek().copied()
                && time <= now
            {
                times.heap.pop();
                due.extend(times.whose.remove(&key).and_then(|w| w.upgrade()));
            }
            self.set_timer(&times);
        }
        for timed in due {
            unharmed(|| timed.hub_timer());
        }
    }
}

/// Whoever is called may call the user's code: a waker, the drop of a value. A panic of it
/// has been printed, and must not end the thread that serves everybody; nor harm another that
/// happens to read what is for somebody else, or those who are told after that.
pub(crate) fn unharmed(call: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}

fn key(watched: &dyn Watched) -> Option<NonZeroU64> {
    NonZeroU64::new(watched.hub_key().load(Ordering::Acquire))
}
