//! Calls as an asynchronous worker takes them in: those that may start, those that wait
//! for their turn, those that were cancelled meanwhile.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use bytes::Bytes;

use super::codec::{Body, Held};
use super::frame::{Failed, Kind};
use super::inbox::Arrived;
use super::session::{self, Session, refused};

/// What runs the calls.
pub(super) trait Runs {
    /// Whether another one may start.
    fn has_room(&self) -> bool;
    /// Starts a call. An error is the status with which the process is to end.
    fn start(&mut self, call: u32, body: &Body<'_>, fds: Vec<OwnedFd>) -> Result<(), u8>;
    /// Ends a call that has been started, if it is still open.
    fn cancel(&mut self, call: u32);
}

#[derive(Default)]
pub(super) struct Intake {
    waiting: VecDeque<Waiting>,
    /// Calls of which the Cancel has arrived, but not had its turn.
    cancelled: Vec<u32>,
    finished: bool,
}

struct Waiting {
    call: u32,
    body: Bytes,
    fds: Vec<OwnedFd>,
}

impl Intake {
    /// Calls wait for room.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// No more calls will come.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The stream has ended.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Starts what there is room for, of what has waited and of what has arrived, and
    /// keeps the others. All that has arrived is taken, however much it is: the parent
    /// limits the calls that are open, and behind them there may be a Cancel.
    pub(super) fn run(&mut self, session: &mut Session, runs: &mut impl Runs) -> Result<(), u8> {
        let output = session.output();
        session.inbox.scan(|head| {
            if head.kind == Kind::Cancel {
                self.cancelled.push(head.call);
            }
        });
        // Before those that wait are started: some of them may have been cancelled.
        let cancelled = &self.cancelled;
        self.waiting.retain(|waiting| {
            let wanted = !cancelled.contains(&waiting.call);
            if !wanted {
                output.fail(waiting.call, &Failed::Cancelled);
            }
            wanted
        });
        while runs.has_room()
            && let Some(Waiting { call, body, fds }) = self.waiting.pop_front()
        {
            runs.start(call, &Body(Held::Owned(body)), fds)?;
        }
        loop {
            let Arrived { head, body, fds, fds_lost } = match session.inbox.next() {
                Ok(Some(arrived)) => arrived,
                Ok(None) => return Ok(()),
                Err(why) => return Err(refused(why.0)),
            };
            let call = head.call;
            match head.kind {
                Kind::Void => {}
                Kind::Ring => session::use_ring(&output, fds),
                Kind::Finish => self.finished = true,
                Kind::Cancel => {
                    if let Some(at) = self.cancelled.iter().position(|id| *id == call) {
                        self.cancelled.swap_remove(at);
                    }
                    runs.cancel(call);
                }
                Kind::Call if self.cancelled.contains(&call) => {
                    output.fail(call, &Failed::Cancelled);
                }
                Kind::Call if fds_lost => output.fail(call, &Failed::NoRoomForFds),
                Kind::Call if self.waiting.is_empty() && runs.has_room() => {
                    runs.start(call, &body, fds)?;
                }
                Kind::Call => {
                    let body = match body.0 {
                        Held::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
                        Held::Owned(bytes) => bytes,
                    };
                    self.waiting.push_back(Waiting { call, body, fds });
                }
                _ => return Err(refused("a frame that is not for a worker")),
            }
        }
    }
}
