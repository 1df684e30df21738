//! How a connection ends: the process has to be known to be gone, and how, before its
//! calls are told.

use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use nix::sys::socket::{Shutdown, shutdown};

use super::super::worker::Style;
use super::inside::Inside;
use super::{Conn, Reader, lock};
use crate::error::{Ended, Error, Fault};
use crate::lead::Seat;

/// A worker that has closed its stream is about to end. One that does not is killed
/// after this time.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// The end of one that was killed is told within this time, however busy the machine is;
/// else (its template may be stopped) its calls are told without its status.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Why it is killed then.
const LINGERS: &str = "it closed its connection, and did not end";

/// How it ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    status: Option<ExitStatus>,
    /// What `on_error` got, if calls were lost.
    fault: Option<Fault>,
}

impl Conn {
    /// Something is wrong with what the worker sent: nothing more is read from it.
    pub(super) fn break_off(&self, reader: &mut Reader, fault: Fault) {
        self.read_ended(reader);
        reader.broken = true;
        let _ = shutdown(self.child.stream().as_raw_fd(), Shutdown::Both);
        // With descriptors in it that would stay open for as long as the handle does.
        reader.inbox.clear_all(self.child.stream());
        self.kill(reader, "it did not keep to the protocol");
        self.fail_all(&fault);
    }

    /// What the worker sends cannot be taken in.
    pub(super) fn cannot_read(&self, reader: &mut Reader, why: &io::Error) {
        self.read_ended(reader);
        reader.broken = true;
        reader.inbox.clear();
        let why = match why.kind() {
            io::ErrorKind::OutOfMemory => "there was no memory for what it sent",
            _ => "what it sent could not be received",
        };
        self.kill(reader, why);
    }

    fn kill(&self, reader: &mut Reader, why: &'static str) {
        if reader.killed.is_none() {
            self.state().killed.get_or_insert(why);
        }
        {
            // As in `settle_patiently`.
            let _inside = Inside::of(self);
            self.child.kill_soon();
        }
        reader.killed.get_or_insert_with(Instant::now);
    }

    /// Nothing more is to be read.
    pub(super) fn read_ended(&self, reader: &mut Reader) {
        reader.ended.get_or_insert_with(Instant::now);
        self.read_ended.store(true, Ordering::Release);
    }

    /// The stream ends with the process, for whoever reads: also if another one, to which the
    /// worker has given it, has it still. What the worker has sent is there to be read.
    pub(super) fn hang_up_at_end(&self) {
        self.child.at_end(Waker::from(Arc::new(HangUp(self.me.clone()))));
    }

    /// Whether the end is still to be told, and nobody looks after that.
    pub(super) fn is_unsettled(&self) -> bool {
        self.state().end.is_none() && lock(&self.exit).is_none()
    }

    /// All calls get this, those that are open and those to come.
    pub(super) fn fail_all(&self, fault: &Fault) {
        let slots: Vec<_> = {
            let mut state = self.state();
            state.fault.get_or_insert_with(|| fault.clone());
            state.outbox.clear();
            let all = state.book.all();
            all.into_iter().filter_map(|t| state.book.remove(t)?.slot).collect()
        };
        {
            let _inside = Inside::of(self);
            slots.iter().for_each(|slot| slot.fail(fault.clone()));
        }
        self.tell_room(self.state());
    }

    /// The stream has ended. Finishes if the end of the process is known; else sees to it
    /// that this is looked at again when it is.
    pub(super) fn settle(&self, reader: &mut Reader) {
        let Some(since) = reader.ended else { return };
        if self.state().end.is_some() {
            return;
        }
        let waker = Waker::from(Arc::new(Poke(self.me.clone())));
        let outcome = {
            let mut exit = lock(&self.exit);
            let exit = exit.get_or_insert_with(|| self.child.exited());
            Pin::new(exit).poll(&mut Context::from_waker(&waker))
        };
        match outcome {
            Poll::Ready(outcome) => self.ended(Some(outcome)),
            Poll::Pending if reader.is_given_up() => self.ended(None),
            Poll::Pending => {
                if since.elapsed() >= ENDS_WITHIN {
                    self.kill(reader, LINGERS);
                }
                if self.set_timer(Instant::now() + ENDS_WITHIN).is_err() {
                    self.ended(None);
                }
            }
        }
    }

    /// The same, by a thread that waits.
    pub(super) fn settle_patiently(&self, reader: &mut Reader, deadline: Option<Instant>) {
        let Some(since) = reader.ended else { return };
        if self.state().end.is_some() {
            return;
        }
        // This may read for others who wait for processes, and call their wakers.
        let _inside = Inside::of(self);
        let left = |since: Instant, within: Duration| {
            let left = within.saturating_sub(since.elapsed());
            deadline.map_or(left, |d| left.min(d.saturating_duration_since(Instant::now())))
        };
        let mut outcome = Ok(None);
        if reader.killed.is_none() {
            outcome = self.child.wait_timeout(left(since, ENDS_WITHIN));
            if matches!(outcome, Ok(None)) && since.elapsed() >= ENDS_WITHIN {
                self.kill(reader, LINGERS);
            }
        }
        if let (Ok(None), Some(killed)) = (&outcome, reader.killed) {
            outcome = self.child.wait_timeout(left(killed, TOLD_WITHIN));
        }
        match outcome {
            Ok(Some(status)) => self.ended(Some(Ok(status))),
            Err(error) => self.ended(Some(Err(error))),
            Ok(None) if reader.is_given_up() => self.ended(None),
            // The deadline is nearer; the next one waits for the rest.
            Ok(None) => {}
        }
    }

    /// The process has ended, as far as that is known.
    fn ended(&self, outcome: Option<Result<ExitStatus, Error>>) {
        let (status, unmade, errno) = match outcome {
            Some(Ok(status)) => (Some(status), None, None),
            // It never was.
            Some(Err(error)) if error.is_unmade() => {
                (None, Some(error.to_string().into()), error.raw_os_error())
            }
            Some(Err(_)) | None => (None, None, None),
        };
        let never = unmade.is_some();
        let mut ended = Ended {
            status,
            unmade,
            errno,
            said: self.handlers.last_words(),
            peak_memory: self.child.peak_memory(),
            because: self.state().killed.filter(|why| {
                // It may have been about to end by itself, only not so soon.
                *why != LINGERS || status.and_then(|s| s.signal()) == Some(libc::SIGKILL)
            }),
            started: None,
        };
        {
            // Before anybody is told of the end.
            let _inside = Inside::of(self);
            self.handlers.end_logs();
        }
        let mut told = Vec::new();
        let mut state = self.state();
        if state.end.is_some() {
            return;
        }
        let before = state.fault.clone();
        let open = state.book.all();
        for (index, ticket) in open.iter().enumerate() {
            let Some(place) = state.book.get(*ticket).map(|e| e.place) else { continue };
            let unsent = state.outbox.take_out(place);
            let begun = (index == 0 || self.style == Style::Async)
                && (state.ready || !self.handlers.is_overseen())
                && !never;
            ended.started = Some(begun && !unsent && !state.panicked);
            let fault = before.clone().unwrap_or_else(|| Fault::Ended(ended.clone()));
            told.extend(state.book.remove(*ticket).and_then(|e| e.slot).map(|s| (s, fault)));
        }
        ended.started = if open.is_empty() { None } else { Some(true) };
        let lost = before.is_some() || !open.is_empty();
        let good = !lost && state.finishing && status.is_none_or(|s| s.success());
        let fault = (!good).then(|| before.unwrap_or(Fault::Ended(ended.clone())));
        ended.started = Some(false);
        state.fault.get_or_insert(Fault::Ended(ended));
        state.end = Some(End { status, fault: fault.clone().filter(|_| lost) });
        state.outbox.clear();
        drop(state);
        {
            let _inside = Inside::of(self);
            for (slot, fault) in told {
                slot.fail(fault);
            }
            self.handlers.end(fault.map(Error::from));
        }
        let (seats, waiting) = {
            let mut state = self.state();
            (std::mem::take(&mut state.end_seats), state.room.all())
        };
        seats.iter().for_each(|s| s.ring());
        self.tell_all(waiting);
        *lock(&self.exit) = None;
        // This may be the last reference but the caller's.
        let kept = lock(&self.kept).take();
        drop(kept);
    }

    /// Waits until the process is gone; its status. An error if calls were lost.
    pub(in super::super) fn wait_for_end(&self) -> Result<ExitStatus, Error> {
        self.check()?;
        if self.is_calling_back() {
            return Err(Fault::WouldDeadlock.into());
        }
        let seat = Seat::new();
        self.state().end_seats.push(Arc::clone(&seat));
        let end = self
            .wait(|| Arc::clone(&seat), None, || self.state().end.clone())
            .expect("without a deadline there is an end");
        match end {
            End { fault: Some(fault), .. } => Err(fault.into()),
            End { status: Some(status), .. } => Ok(status),
            End { status: None, .. } => Err(crate::error::Kind::StatusLost.into()),
        }
    }

    /// Lives on without a handle, until its end.
    pub(in super::super) fn keep(&self) {
        // In a fork of the program, it lives on in the one that it belongs to.
        if !self.is_ours() || self.state().end.is_some() {
            return;
        }
        *lock(&self.kept) = self.me.upgrade();
        if self.watch().is_err() {
            // No thread can be had to look after it.
            drop(lock(&self.kept).take());
        }
        if self.state().end.is_some() {
            drop(lock(&self.kept).take());
        }
    }
}

impl Reader {
    /// Whether the end of the process has been waited for long enough.
    fn is_given_up(&self) -> bool {
        self.killed.is_some_and(|killed| killed.elapsed() >= TOLD_WITHIN)
    }
}

/// Ends a connection's stream.
struct HangUp(Weak<Conn>);

impl Wake for HangUp {
    fn wake(self: Arc<Self>) {
        if let Some(conn) = self.0.upgrade() {
            let _ = shutdown(conn.child.stream().as_raw_fd(), Shutdown::Both);
        }
    }
}

/// Has a connection looked at again, by the hub.
struct Poke(Weak<Conn>);

impl Wake for Poke {
    fn wake(self: Arc<Self>) {
        if let Some(conn) = self.0.upgrade() {
            let _ = conn.set_timer(Instant::now());
        }
    }
}
