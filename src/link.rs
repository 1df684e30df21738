//! The parent's end of one control socket: sends requests, and gives the replies
//! to those who wait for them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};

use crate::error::{Error, Kind};
use crate::home::Home;
use crate::hub::{Interest, Watched};
use crate::lead::{Lead, Seat};
use crate::slot::{Asked, Loss, Slot, State};
use crate::sys::fdpass;
use crate::wire::{self, MAX_REPLY, Malformed, Reply};

/// Replies to processes that nobody waits for are read once this many requests
/// have been sent without a look at the socket.
const LOOK_EVERY: usize = 32;

pub(crate) struct Link {
    pub(crate) home: &'static Home,
    socket: OwnedFd,
    /// Pid of the template, if it is a child of this process: a re-executed one.
    child: Option<i32>,
    lead: Lead,
    slots: Mutex<Slots>,
    next_id: AtomicU64,
    unread: AtomicUsize,
    /// Where the readiness of the template itself is told, if it has setup functions
    /// to run: another link's slot.
    readiness: Option<(Arc<Link>, Arc<Slot>)>,
    /// Known to the hub under this key, or 0; set with the first future.
    hub_key: AtomicU64,
    watched: AtomicBool,
    armed: AtomicBool,
}

#[derive(Default)]
struct Slots {
    open: BTreeMap<u64, Arc<Slot>>,
    lost: Option<Loss>,
}

impl Link {
    pub(crate) fn new(
        home: &'static Home,
        socket: OwnedFd,
        child: Option<i32>,
        readiness: Option<(Arc<Link>, Arc<Slot>)>,
    ) -> Arc<Link> {
        let link = Arc::new(Link {
            home,
            socket,
            child,
            lead: Lead::new(),
            slots: Mutex::default(),
            next_id: AtomicU64::new(1),
            unread: AtomicUsize::new(0),
            readiness,
            hub_key: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            armed: AtomicBool::new(false),
        });
        home.remember(&link);
        link
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// An error unless this process may use the link; see `home.rs`.
    pub(crate) fn check_owner(&self) -> Result<(), Error> {
        self.home.claim_patiently()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.slots().lost.is_some()
    }

    /// Waits, once, until the template has run its setup functions; their error is
    /// the error.
    pub(crate) fn wait_ready(&self) -> Result<(), Error> {
        let Some((link, slot)) = &self.readiness else { return Ok(()) };
        link.wait_ready()?;
        link.await_ready(slot)
    }

    /// Waits until the process of `slot` has done its steps.
    pub(crate) fn await_ready(&self, slot: &Slot) -> Result<(), Error> {
        self.wait(slot, None, |s| {
            let gone =
                || s.exited.map(|_| Kind::TemplateGone("it ended before it was ready").into());
            if s.ready { Some(Ok(())) } else { s.failure().or_else(gone).map(Err) }
        })
        .expect("without a deadline there is a result")
    }

    /// Opens a slot, sends a request that names it, and takes the slot back if that
    /// fails.
    pub(crate) fn request(
        &self,
        asked: Asked,
        send: impl FnOnce(BorrowedFd<'_>, u64) -> io::Result<()>,
    ) -> Result<(u64, Arc<Slot>), RequestError> {
        if self.unread.fetch_add(1, Ordering::Relaxed) >= LOOK_EVERY {
            self.drain();
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot::new(asked));
        {
            let mut slots = self.slots();
            if let Some(loss) = slots.lost {
                return Err(RequestError::Lost(loss));
            }
            slots.open.insert(id, Arc::clone(&slot));
        }
        send(self.socket(), id).map_err(|e| {
            self.slots().open.remove(&id);
            match e.raw_os_error() {
                Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN) => {
                    // What it said before it died is still to be read.
                    self.drain();
                    RequestError::Lost(Loss::Gone)
                }
                _ => RequestError::Io(e),
            }
        })?;
        Ok((id, slot))
    }

    /// Asks a question and waits for its answer.
    pub(crate) fn ask<T>(
        &self,
        what: &'static str,
        send: impl FnOnce(BorrowedFd<'_>, u64) -> io::Result<()>,
        mut answer: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, Error> {
        self.check_owner()?;
        let (_, slot) = self.request(Asked::Question, send).map_err(|e| e.into_error(what))?;
        self.wait(&slot, None, |s| match answer(s) {
            Some(answer) => Some(Ok(answer)),
            None => s.failure().map(Err),
        })
        .expect("without a deadline there is a result")
    }

    /// Nobody waits for this process any more.
    pub(crate) fn forget(&self, id: u64) {
        self.slots().open.remove(&id);
    }

    /// Waits until `want` finds in the slot what it looks for.
    pub(crate) fn wait<T>(
        &self,
        slot: &Slot,
        deadline: Option<Instant>,
        mut want: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let seat = Seat::new();
        {
            let mut state = slot.lock();
            if let Some(result) = want(&mut state) {
                return Some(result);
            }
            state.seats.push(Arc::clone(&seat));
        }
        let result = self.lead.wait(&seat, deadline, || want(&mut slot.lock()), |d| self.pump(d));
        slot.lock().seats.retain(|s| !Arc::ptr_eq(s, &seat));
        self.arm();
        result
    }

    /// Reads one reply, waiting for it until the deadline.
    fn pump(&self, deadline: Option<Instant>) {
        if self.armed.swap(false, Ordering::AcqRel) {
            self.home.hub_set(self, Interest::default());
        }
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up: a poll of 0 ms would spin through the last millisecond.
            let left = PollTimeout::try_from(left + Duration::from_micros(999))
                .unwrap_or(PollTimeout::MAX);
            let mut polled = [PollFd::new(self.socket(), PollFlags::POLLIN)];
            if !matches!(poll(&mut polled, left), Ok(n) if n > 0) {
                return;
            }
        }
        self.read_one(true);
    }

    /// Reads one reply; whether there may be more.
    fn read_one(&self, wait: bool) -> bool {
        let mut buffer = [0; MAX_REPLY];
        let mut fds = Vec::new();
        let received = match fdpass::receive(&self.socket, &mut buffer, &mut fds, wait) {
            Ok(Some(received)) => received,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(None) | Err(_) => {
                self.close(Loss::Gone);
                return false;
            }
        };
        self.unread.store(0, Ordering::Relaxed);
        if received.truncated && !received.fds_lost {
            self.close(Loss::Protocol("a datagram that is too long"));
            return false;
        }
        let parsed = match Reply::parse(&buffer[..received.len], &mut fds) {
            // There was no room for the descriptor: a fault of ours, not of the peer.
            _ if received.fds_lost => Ok((wire::id_of(&buffer), Reply::Done(libc::EMFILE))),
            parsed => parsed,
        };
        match parsed.and_then(|(id, reply)| self.hand_out(id, reply)) {
            Ok(()) => true,
            Err(Malformed(why)) => {
                self.close(Loss::Protocol(why));
                false
            }
        }
    }

    /// Replies that nobody waits for any more are thrown away here.
    fn hand_out(&self, id: u64, reply: Reply) -> Result<(), Malformed> {
        let slot = self.slots().open.get(&id).cloned();
        if let Some(slot) = slot
            && slot.take(reply)?
        {
            self.slots().open.remove(&id);
        }
        Ok(())
    }

    fn close(&self, loss: Loss) {
        let lost = {
            let mut slots = self.slots();
            slots.lost.get_or_insert(loss);
            std::mem::take(&mut slots.open)
        };
        // A peer that does not keep to the protocol is let go, not listened to.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        for slot in lost.values() {
            slot.lose(loss);
        }
    }

    /// Reads what is there, if nobody else does. Whether the template is gone.
    pub(crate) fn drain(&self) -> bool {
        self.unread.store(0, Ordering::Relaxed);
        self.lead.poll(|| while self.read_one(false) {});
        self.arm();
        self.is_closed()
    }

    /// From now on somebody is to be told without waiting: the hub reads where no
    /// waiting thread does.
    pub(crate) fn watch(self: &Arc<Link>) -> Result<(), Error> {
        if self.hub_key.load(Ordering::Acquire) == 0 {
            let watched: Arc<dyn Watched> = Arc::clone(self) as _;
            self.home.hub_add(&watched)?;
        }
        self.watched.store(true, Ordering::Release);
        self.arm();
        Ok(())
    }

    fn arm(&self) {
        if !self.watched.load(Ordering::Acquire) {
            return;
        }
        self.lead.if_idle(|| {
            let awaited = !self.slots().open.is_empty();
            if awaited && !self.armed.swap(true, Ordering::AcqRel) {
                self.home.hub_set(self, Interest { read: true, write: false });
            }
        });
    }

    /// Takes the link over from the process that this one was forked from.
    pub(crate) fn adopt(&self) {
        self.lead.reset();
        // That one's hub had a thread, which is not here.
        self.watched.store(false, Ordering::Release);
        self.hub_key.store(0, Ordering::Release);
        self.armed.store(false, Ordering::Release);
    }

    pub(crate) fn child(&self) -> Option<i32> {
        self.child
    }

    /// Reaps a template that was our child; it has closed its socket, so it is gone
    /// or about to be.
    pub(crate) fn reap(&self) {
        if let Some(pid) = self.child {
            // Somebody's wait(-1) may have been faster, or a fork of the program asks.
            let _ = crate::sys::wait::reap(pid);
        }
    }
}

impl Watched for Link {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn hub_key(&self) -> &AtomicU64 {
        &self.hub_key
    }

    fn hub_event(self: Arc<Link>) {
        self.armed.store(false, Ordering::Release);
        self.drain();
    }
}

/// Why a request could not be sent.
pub(crate) enum RequestError {
    Lost(Loss),
    Io(io::Error),
}

impl RequestError {
    pub(crate) fn into_error(self, what: &'static str) -> Error {
        match self {
            RequestError::Lost(loss) => {
                loss.into_error(Kind::TemplateGone("it died, or was killed"))
            }
            RequestError::Io(e) => Error::system(what)(e),
        }
    }
}
