//! What the parent knows of one process, or of one question, and who is to be told
//! when that changes.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use crossbeam_channel::Sender;

use crate::error::{Error, Kind};
use crate::hub::unharmed;
use crate::lead::Seat;
use crate::sys::wait::Reaped;
use crate::wire::{Failure, Malformed, Reply};
pub(crate) use witness::Witness;

mod witness;

/// Why nothing more will be heard.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    Gone,
    Protocol(&'static str),
}

/// What a request was about, and so which replies belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Process,
    Question,
}

pub(crate) struct Slot {
    asked: Asked,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) ready: bool,
    pub(crate) pid: Option<i32>,
    pub(crate) failed: Option<Failure>,
    pub(crate) exited: Option<Reaped>,
    /// Answers to a question: `Done`, or a descriptor.
    pub(crate) done: Option<i32>,
    pub(crate) fd: Option<OwnedFd>,
    pub(crate) lost: Option<Loss>,
    /// The process itself, if it was asked for: knows its end when nobody else does.
    pub(crate) witness: Option<Witness>,
    pub(crate) seats: Vec<Arc<Seat>>,
    /// Futures that there are, polled or not yet: each may outlive the handle.
    pub(crate) futures: usize,
    pub(crate) wakers: Vec<(usize, Waker)>,
    pub(crate) channels: Vec<Sender<Result<ExitStatus, Error>>>,
    /// Of this library: woken once the process is known to have ended, by whoever hears of it.
    pub(crate) at_end: Option<Waker>,
}

impl Slot {
    pub(crate) fn new(asked: Asked) -> Slot {
        Slot { asked, state: Mutex::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Notes a reply and tells everybody who waits. Whether it was the last one.
    pub(crate) fn take(&self, reply: Reply) -> Result<bool, Malformed> {
        let belongs = match reply {
            Reply::Failed(_) => true,
            Reply::Ready | Reply::Exited(_) => self.asked == Asked::Process,
            Reply::PidIs(_) | Reply::PidfdIs(_) | Reply::Done(_) => self.asked == Asked::Question,
        };
        if !belongs {
            // It would end the wait for the reply that does belong here.
            return Err(Malformed("a reply to something else than was asked"));
        }
        let mut state = self.lock();
        let last = match reply {
            Reply::Ready => {
                state.ready = true;
                false
            }
            Reply::Failed(failure) => {
                state.failed = Some(failure);
                true
            }
            Reply::Exited(reaped) => {
                state.pid = Some(reaped.pid);
                state.exited = Some(reaped);
                true
            }
            Reply::PidIs(pid) => {
                state.pid = Some(pid);
                state.done = Some(0);
                true
            }
            Reply::PidfdIs(fd) => {
                state.fd = Some(fd);
                state.done = Some(0);
                true
            }
            Reply::Done(errno) => {
                state.done = Some(errno);
                true
            }
        };
        tell(state);
        Ok(last)
    }

    pub(crate) fn lose(&self, loss: Loss) {
        let mut state = self.lock();
        state.lost.get_or_insert(loss);
        tell(state);
    }
}

fn tell(mut state: MutexGuard<'_, State>) {
    let seats = state.seats.clone();
    let outcome = state.outcome();
    let at_end = if let Some(Ok(_)) = outcome { state.at_end.take() } else { None };
    let (wakers, channels) = match outcome {
        Some(_) => (std::mem::take(&mut state.wakers), std::mem::take(&mut state.channels)),
        None => (Vec::new(), Vec::new()),
    };
    let outcomes: Vec<_> = channels.iter().filter_map(|_| state.outcome()).collect();
    drop(state);
    for seat in seats {
        seat.ring();
    }
    for waker in at_end.into_iter().chain(wakers.into_iter().map(|(_, waker)| waker)) {
        unharmed(|| waker.wake());
    }
    for (channel, outcome) in channels.iter().zip(outcomes) {
        // Room for one, and this is the only one; the receiver may be gone.
        let _ = channel.try_send(outcome);
    }
}

impl State {
    /// Whether nothing more will be heard from the template.
    pub(crate) fn is_over(&self) -> bool {
        self.failed.is_some() || self.exited.is_some() || self.lost.is_some()
    }

    /// How the process ended, once that is known or will never be.
    pub(crate) fn outcome(&mut self) -> Option<Result<ExitStatus, Error>> {
        if let Some(failure) = &self.failed {
            return Some(Err(Kind::Remote(failure.clone()).into()));
        }
        if let Some(reaped) = self.exited {
            return Some(Ok(ExitStatus::from_raw(reaped.status)));
        }
        let loss = self.lost?;
        let by_kernel = match &mut self.witness {
            Some(witness) => witness.ask()?,
            None => None,
        };
        Some(match by_kernel {
            Some(status) => Ok(ExitStatus::from_raw(status)),
            None => Err(loss.into_error(Kind::StatusLost)),
        })
    }

    /// An error, if there will be no (further) answer.
    pub(crate) fn failure(&self) -> Option<Error> {
        match (&self.failed, self.lost) {
            (Some(failure), _) => Some(Kind::Remote(failure.clone()).into()),
            (None, Some(loss)) => {
                Some(loss.into_error(Kind::TemplateGone("it died, or was killed")))
            }
            (None, None) => None,
        }
    }
}

impl Loss {
    pub(crate) fn into_error(self, gone: Kind) -> Error {
        match self {
            Loss::Gone => gone.into(),
            Loss::Protocol(why) => Kind::Protocol(why).into(),
        }
    }
}
