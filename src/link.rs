//! The parent's end of one control socket: sends requests, and gives the replies
//! to those who wait for them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::error::{Error, Kind};
use crate::home::Home;
use crate::lead::{Lead, Seat};
use crate::slot::{Asked, Loss, Slot, State};
use crate::sys::{fdpass, fds};
use crate::wire;

mod read;

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
    /// The template still has the streams of the process that this one has taken it over from.
    owes_streams: AtomicBool,
    /// A request was refused because the template is gone. What it said before may still be
    /// unread: whoever leads has not come to the end.
    refused: AtomicBool,
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
            owes_streams: AtomicBool::new(false),
            refused: AtomicBool::new(false),
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

    /// As when a thread uses it.
    #[cfg(test)]
    pub(crate) fn held(&self) -> impl Sized + '_ {
        self.slots()
    }

    /// An error unless this process may use the link; see `home.rs`.
    pub(crate) fn check_owner(&self) -> Result<(), Error> {
        self.home.claim_patiently()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.slots().lost.is_some()
    }

    /// Whether it is of no use any more to who has something to ask. Who waits for an answer
    /// may still get it.
    pub(crate) fn is_gone(&self) -> bool {
        self.refused.load(Ordering::Acquire) || self.is_closed()
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
        if self.owes_streams.load(Ordering::Relaxed) {
            self.pass_streams();
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
            if !fdpass::is_end(&e) {
                return RequestError::Io(e);
            }
            self.refused.store(true, Ordering::Release);
            // What it said before it died is still to be read: here, or by the one who leads.
            self.drain();
            RequestError::Lost(Loss::Gone)
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

    /// Gives the template our standard streams, or owes them until there is room.
    pub(super) fn pass_streams(&self) {
        let passed = fds::stdio().and_then(|streams| wire::send_streams(&self.socket, &streams));
        let owed = matches!(passed, Err(e) if !fdpass::is_end(&e));
        self.owes_streams.store(owed, Ordering::Relaxed);
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
