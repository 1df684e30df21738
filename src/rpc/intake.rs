//! Calls as an asynchronous worker takes them in: those that may start, those that wait
//! for their turn, those that were cancelled meanwhile.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;

use bytes::Bytes;

use super::codec::{Body, Held};
use super::frame::{Failed, Kind};
use super::inbox::{Arrived, Inbox};
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

/// Calls of which the Cancel has arrived, but not had its turn: how many, since the number
/// of one that was answered is used again.
#[derive(Default)]
pub(super) struct Cancelled(HashMap<u32, u32>);

impl Cancelled {
    /// Looks through what has arrived since the last time.
    pub(super) fn look_for(&mut self, inbox: &mut Inbox) -> Looked {
        let mut looked = Looked { frames: 0, any: false };
        inbox.scan(|head| {
            looked.frames += 1;
            if head.kind == Kind::Cancel {
                *self.0.entry(head.call).or_default() += 1;
                looked.any = true;
            }
        });
        looked
    }

    pub(super) fn contains(&self, call: u32) -> bool {
        !self.0.is_empty() && self.0.contains_key(&call)
    }

    pub(super) fn had_its_turn(&mut self, call: u32) {
        if let Entry::Occupied(mut entry) = self.0.entry(call) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// What was found.
pub(super) struct Looked {
    pub(super) frames: usize,
    /// One at least was cancelled.
    pub(super) any: bool,
}

#[derive(Default)]
pub(super) struct Intake {
    waiting: VecDeque<Waiting>,
    cancelled: Cancelled,
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
        // Before those that wait are started: some of them may have been cancelled.
        if self.cancelled.look_for(&mut session.inbox).any {
            let cancelled = &self.cancelled;
            self.waiting.retain(|waiting| {
                let wanted = !cancelled.contains(waiting.call);
                if !wanted {
                    output.fail(waiting.call, &Failed::Cancelled);
                }
                wanted
            });
        }
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
                    self.cancelled.had_its_turn(call);
                    runs.cancel(call);
                }
                Kind::Call if self.cancelled.contains(call) => {
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
