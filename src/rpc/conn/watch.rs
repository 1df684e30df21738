//! What the hub does for a connection: reads where no thread waits, writes what had no
//! room, and keeps deadlines.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::look::LOOKS_AGAIN;
use super::state::Late;
use super::{Conn, SEND_WITHIN, lock};
use crate::error::{Error, Fault};
use crate::hub::{Interest, Timed, Watched};

/// See [`Conn::arm_soon`].
const ARMS_WITHIN: Duration = Duration::from_millis(1);

impl Conn {
    /// From now on somebody is to be told without waiting: the hub reads where no waiting
    /// thread does.
    pub(crate) fn watch(&self) -> Result<(), Error> {
        // In a fork of the program, a hub of its own would read what is not for it.
        self.check()?;
        if !self.watched.load(Ordering::Acquire) {
            self.join_hub()?;
            // Without that, the stream tells.
            let _ = self.child.watch_end();
            self.watched.store(true, Ordering::Release);
        }
        self.arm();
        Ok(())
    }

    fn join_hub(&self) -> Result<(), Error> {
        if self.hub_key.load(Ordering::Acquire) == 0 {
            // It is gone only for a drop, after which nothing arrives.
            if let Some(conn) = self.me.upgrade() {
                self.home.hub_add(&(conn as Arc<dyn Watched>))?;
            }
        }
        Ok(())
    }

    pub(super) fn arm_write(&self) {
        // Without a hub, whoever waits next sends the rest.
        let _ = self.join_hub();
        self.set_interest(|interest| interest.write = true);
    }

    /// After a wait: the next one may come at once, and then looking out meanwhile would
    /// be two system calls for nothing. With no call open, what the worker says by itself
    /// can wait for a millisecond.
    pub(super) fn arm_soon(&self) {
        if !self.watched.load(Ordering::Acquire) {
            return;
        }
        let at_rest = !self.read_ended.load(Ordering::Acquire) && self.state().book.open() == 0;
        let later = at_rest
            && (self.arm_asked.swap(true, Ordering::AcqRel)
                || self.set_timer(Instant::now() + ARMS_WITHIN).is_ok());
        if !later {
            self.arm();
        }
    }

    pub(crate) fn arm(&self) {
        self.arm_by(SEND_WITHIN);
    }

    /// Sees to it that the hub reads what comes, and within a time what has come.
    pub(super) fn arm_by(&self, within: Duration) {
        if !self.watched.load(Ordering::Acquire) {
            return;
        }
        if self.read_ended.load(Ordering::Acquire) {
            // There would be the end to read, again and again.
            if self.is_unsettled() {
                let _ = self.set_timer(Instant::now());
            }
        } else {
            self.lead.if_idle(|| {
                self.set_interest(|interest| interest.read = true);
                let position = self.position.load(Ordering::Relaxed);
                if self.ring.get().is_some_and(|ring| !ring.sleep(position)) {
                    self.look_again(Duration::ZERO);
                }
                self.leave_none(within);
            });
        }
    }

    /// Whoever has led took no more than up to its own reply, or than a turn's worth. What
    /// is behind it has left the socket already, so no event tells the hub of it.
    fn leave_none(&self, within: Duration) {
        let left = self.reader.try_lock().is_ok_and(|reader| {
            !reader.broken && reader.ended.is_none() && reader.inbox.has_frame()
        });
        if left {
            self.look_again(within);
        }
    }

    fn look_again(&self, within: Duration) {
        if !std::mem::replace(&mut self.state().look_asked, true) {
            // There is a hub: it watches.
            let _ = self.set_timer(Instant::now() + within);
        }
    }

    pub(super) fn set_interest(&self, change: impl FnOnce(&mut Interest)) {
        if self.hub_key.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut interest = lock(&self.interest);
        let before = *interest;
        change(&mut interest);
        if *interest != before {
            self.home.hub_set(self, *interest);
        }
    }

    pub(super) fn set_timer(&self, time: Instant) -> Result<(), Error> {
        self.home.hub()?.at(time, self.me.clone());
        Ok(())
    }

    /// Ends calls that are late, and the process if a cancelled one runs on. But what has
    /// been answered in time is not late because nobody has read it.
    fn end_late(&self, mut late: Late) {
        if self.has_looked(&mut late.look, || false) {
            let since = late.look.since;
            self.end_stuck(since);
            let (overdue, others) = {
                let mut state = self.state();
                let others = since..=Instant::now();
                let others = state.stuck.is_some_and(|stuck| others.contains(&stuck.until));
                (state.book.overdue(since), others)
            };
            for ticket in overdue {
                self.cancel(ticket, Fault::Timeout);
            }
            if others {
                // There is a hub: this is its thread.
                let _ = self.set_timer(Instant::now());
            }
            return;
        }
        // Another thread reads, and is in a callback.
        let now = Instant::now();
        let asks = late.again <= now;
        if asks {
            late.again = now + LOOKS_AGAIN;
        }
        let again = late.again;
        self.state().late = Some(late);
        if asks {
            // There is a hub: this is its thread.
            let _ = self.set_timer(again);
        }
    }
}

impl Watched for Conn {
    fn socket(&self) -> BorrowedFd<'_> {
        self.child.stream().as_fd()
    }

    fn hub_key(&self) -> &AtomicU64 {
        &self.hub_key
    }

    fn hub_event(self: Arc<Conn>) {
        *lock(&self.interest) = Interest::default();
        self.flush();
        if self.watched.load(Ordering::Acquire) {
            self.take_turn();
        }
    }
}

impl Timed for Conn {
    fn hub_timer(self: Arc<Conn>) {
        self.arm_asked.store(false, Ordering::Release);
        let (look, room_asked, late) = {
            let mut state = self.state();
            let now = Instant::now();
            let due = state.book.next_deadline().is_some_and(|d| d <= now);
            state.timer_at = state.timer_at.filter(|at| *at > now);
            state.look_asked = false;
            let room_asked = std::mem::take(&mut state.room_asked);
            let late = state.late.take();
            let look = due || state.skipped > 0 || state.stuck.is_some();
            (look, room_asked, late.unwrap_or_else(Late::begin))
        };
        if room_asked {
            self.tell_room(self.state());
        }
        if look {
            self.end_late(late);
        }
        let (again, (send, send_later)) = {
            let mut state = self.state();
            (state.refusal.is_some(), state.asked_to_send())
        };
        if again || send || send_later.is_some_and(|time| self.set_timer(time).is_err()) {
            self.flush();
        }
        let next = {
            let mut state = self.state();
            // For what is late already, the hub looks again anyway.
            let next = state.timer_to_set();
            next.filter(|next| state.late.is_none() || *next > Instant::now())
        };
        if let Some(next) = next {
            // There is a hub: this is its thread.
            let _ = self.set_timer(next);
        }
        if self.watched.load(Ordering::Acquire) || lock(&self.exit).is_some() {
            self.take_turn();
        }
    }
}
