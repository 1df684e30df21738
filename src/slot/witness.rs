//! The status of a process whose template died before it could tell it: the kernel knows it,
//! where there is a process descriptor to ask by. It tells when somebody, an init most often,
//! has reaped the process.
//!
//! ```text
//!                 it ends               it is reaped
//! template lost ───────────▶ a zombie ────────────────▶ status
//!       │ the kernel cannot tell │ REAPED_ELSEWHERE is over
//!       └────────────────────────┴────────────────────▶ nobody can tell
//! ```
//! Whoever asks is told what comes at the end of this, and always the same: one who waits looks
//! for it himself, and for futures and receivers the hub does.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, MutexGuard, Weak};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::{Slot, State, tell};
use crate::error::Error;
use crate::home::Home;
use crate::hub::{Interest, Timed, Watched};
use crate::owner::own_pid;
use crate::sys::pidfd::{self, Told};
use crate::sys::poll;

/// How long to wait for a process to be reaped by somebody else, once its template is
/// dead and the process too.
const REAPED_ELSEWHERE: Duration = Duration::from_secs(5);

/// The process itself.
pub(crate) struct Witness {
    process: Arc<OwnedFd>,
    /// When it was first seen to have ended, after the loss.
    ended: Option<Instant>,
    /// The answer, once there is one; `None` in it if nobody can tell.
    told: Option<Option<i32>>,
    /// There until that, once somebody is to be told.
    watch: Option<Arc<Watch>>,
}

impl Witness {
    pub(crate) fn new(process: OwnedFd) -> Witness {
        Witness { process: Arc::new(process), ended: None, told: None, watch: None }
    }

    /// The answer, if there is one by now.
    pub(super) fn ask(&mut self) -> Option<Option<i32>> {
        if self.told.is_none() {
            self.told = match pidfd::status(&self.process) {
                Told::Status(status) => Some(Some(status)),
                Told::Never => Some(None),
                Told::NotYet => {
                    if self.ended.is_none() && pidfd::has_ended(&self.process) {
                        self.ended = Some(Instant::now());
                    }
                    self.ended.filter(|at| at.elapsed() >= REAPED_ELSEWHERE).map(|_| None)
                }
            };
        }
        self.told
    }

    /// When nothing more is waited for.
    fn patience_ends(&self) -> Option<Instant> {
        self.ended.map(|at| at + REAPED_ELSEWHERE)
    }
}

impl State {
    /// Whether only the kernel can tell how the process ended, and has not yet.
    fn hangs_on_kernel(&mut self) -> bool {
        self.lost.is_some() && self.outcome().is_none()
    }
}

impl Slot {
    /// After the loss of the template: waits for what the kernel tells. `None`: nothing
    /// before the deadline.
    pub(crate) fn wait_for_kernel(
        &self,
        deadline: Option<Instant>,
    ) -> Option<Result<ExitStatus, Error>> {
        loop {
            let (process, until) = {
                let mut state = self.lock();
                if let Some(outcome) = state.outcome() {
                    return Some(outcome);
                }
                // There is one, or nothing would be waited for.
                let witness = state.witness.as_ref()?;
                (Arc::clone(&witness.process), witness.patience_ends())
            };
            if deadline.is_some_and(|d| d <= Instant::now()) {
                return None;
            }
            // Readable once it has ended, hung up once it has been reaped as well.
            let events = if until.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
            let mut polled = [PollFd::new(process.as_fd(), events)];
            let left = deadline.into_iter().chain(until).min();
            // Whatever the matter is, it is looked at again.
            let _ = poll::until(&mut polled, left);
        }
    }

    /// Has the hub look out for what the kernel tells, if a future or a receiver waits for
    /// it and nobody else would tell them.
    pub(crate) fn look_after(self: &Arc<Slot>, home: &'static Home) -> Result<(), Error> {
        let watch = {
            let mut state = self.lock();
            let awaited = !state.wakers.is_empty() || !state.channels.is_empty();
            if !awaited || !state.hangs_on_kernel() {
                return Ok(());
            }
            let Some(witness) = &mut state.witness else { return Ok(()) };
            // That of a process that this one was forked from had that one's hub.
            if witness.watch.as_ref().is_some_and(|w| w.of == own_pid()) {
                return Ok(());
            }
            let watch = Arc::new(Watch {
                home,
                of: own_pid(),
                process: Arc::clone(&witness.process),
                slot: Arc::clone(self),
                key: AtomicU64::new(0),
            });
            witness.watch = Some(Arc::clone(&watch));
            watch
        };
        let watched: Arc<dyn Watched> = Arc::clone(&watch) as _;
        let added = home.hub_add(&watched);
        match added {
            Ok(()) => watch.look(),
            // Without a hub nobody would: then it cannot be known.
            Err(_) => watch.give_up(),
        }
        added
    }
}

/// What the hub knows of it.
struct Watch {
    home: &'static Home,
    /// Whose hub that is.
    of: i32,
    process: Arc<OwnedFd>,
    /// Kept for a receiver that outlives the handle.
    slot: Arc<Slot>,
    key: AtomicU64,
}

impl Watch {
    fn look(self: &Arc<Watch>) {
        let mut state = self.slot.lock();
        if !state.hangs_on_kernel() {
            return self.end(state);
        }
        let patience_ends = state.witness.as_ref().and_then(Witness::patience_ends);
        drop(state);
        // That it is reaped is told without being asked for.
        self.home.hub_set(&**self, Interest { read: patience_ends.is_none(), write: false });
        if let Some(time) = patience_ends {
            let timed: Weak<dyn Timed> = Arc::downgrade(self) as _;
            match self.home.hub() {
                Ok(hub) => hub.at(time, timed),
                Err(_) => self.give_up(),
            }
        }
    }

    fn give_up(&self) {
        let mut state = self.slot.lock();
        if let Some(witness) = &mut state.witness {
            witness.told.get_or_insert(None);
        }
        self.end(state);
    }

    fn end(&self, mut state: MutexGuard<'_, State>) {
        // Its reference to the slot goes with it; whoever calls has another.
        drop(state.witness.as_mut().and_then(|witness| witness.watch.take()));
        tell(state);
    }
}

impl Watched for Watch {
    fn socket(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    fn hub_key(&self) -> &AtomicU64 {
        &self.key
    }

    fn hub_event(self: Arc<Watch>) {
        self.look();
    }
}

impl Timed for Watch {
    fn hub_timer(self: Arc<Watch>) {
        self.look();
    }
}
