//! The open calls of a connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::call::Complete;
use super::super::outbox::Place;
use super::super::worker::Style;

/// Closed calls that may be remembered, besides as many as are open.
const SLACK: usize = 64;

/// Names an open call: its number on the wire, and which of the calls with that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(super) call: u32,
    serial: u64,
}

#[derive(Default)]
pub(super) struct Book {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    open: usize,
    serial: u64,
    /// In the order in which they were made; those that are closed stay in it for a while.
    order: VecDeque<Ticket>,
    /// The earliest first.
    deadlines: VecDeque<(Instant, Ticket)>,
    /// When the first of all open calls became that; only if it may run for so long.
    since: Option<Instant>,
    /// There have been calls that may run for so long.
    times_runs: bool,
}

pub(super) struct Entry {
    serial: u64,
    /// Who waits for the answer. Nobody, once it was cancelled.
    pub(super) slot: Option<Arc<dyn Complete>>,
    pub(super) place: Place,
    pub(super) time: Time,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Time {
    Any,
    /// From when it was made.
    Until(Instant),
    /// From when it is the first of all open calls: in a synchronous worker it runs then.
    Runs(Duration),
}

/// An answer that cannot be.
#[derive(Debug)]
pub(super) enum NotAnswerable {
    NoSuchCall,
    /// The call is here still.
    Unsent,
}

impl Entry {
    fn runs(&self) -> Option<Duration> {
        match self.time {
            Time::Runs(limit) => Some(limit),
            _ => None,
        }
    }
}

impl Book {
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Number of the next call.
    pub(super) fn next(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.entries.len() as u32 + 1)
    }

    /// Notes a call under the next number.
    pub(super) fn add(&mut self, slot: Arc<dyn Complete>, place: Place, time: Time) -> Ticket {
        let call = self.next();
        self.serial += 1;
        let entry = Some(Entry { serial: self.serial, slot: Some(slot), place, time });
        match self.free.pop() {
            Some(_) => self.entries[call as usize - 1] = entry,
            None => self.entries.push(entry),
        }
        let ticket = Ticket { call, serial: self.serial };
        self.open += 1;
        self.order.push_back(ticket);
        match time {
            Time::Any => {}
            Time::Until(deadline) => {
                // Most often it is the latest of all.
                let at = self.deadlines.partition_point(|(earlier, _)| *earlier <= deadline);
                self.deadlines.insert(at, (deadline, ticket));
            }
            Time::Runs(_) => {
                self.times_runs = true;
                if self.open == 1 {
                    self.since = Some(Instant::now());
                }
            }
        }
        ticket
    }

    pub(super) fn get(&mut self, ticket: Ticket) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(ticket.call as usize - 1)?.as_mut()?;
        (entry.serial == ticket.serial).then_some(entry)
    }

    /// The open call of this number.
    pub(super) fn ticket(&self, call: u32) -> Option<Ticket> {
        let entry = self.entries.get((call as usize).checked_sub(1)?)?.as_ref()?;
        Some(Ticket { call, serial: entry.serial })
    }

    fn is_open(&self, ticket: Ticket) -> bool {
        let entry = self.entries.get(ticket.call as usize - 1).and_then(Option::as_ref);
        entry.is_some_and(|e| e.serial == ticket.serial)
    }

    /// The call that was made first of those that are open.
    pub(super) fn first(&mut self) -> Option<Ticket> {
        while let Some(first) = self.order.front().copied() {
            if self.is_open(first) {
                return Some(first);
            }
            self.order.pop_front();
        }
        None
    }

    /// Closes a call, by the number that an answer has. `is_unsent` knows whether a call is
    /// queued still.
    pub(super) fn answered(
        &mut self,
        call: u32,
        style: Style,
        is_unsent: impl FnOnce(Place) -> bool,
    ) -> Result<Entry, NotAnswerable> {
        let index = (call as usize).checked_sub(1).ok_or(NotAnswerable::NoSuchCall)?;
        let entry = self.entries.get_mut(index).ok_or(NotAnswerable::NoSuchCall)?;
        if is_unsent(entry.as_ref().ok_or(NotAnswerable::NoSuchCall)?.place) {
            return Err(NotAnswerable::Unsent);
        }
        if style == Style::Sync && self.first().is_none_or(|first| first.call != call) {
            return Err(NotAnswerable::NoSuchCall);
        }
        let entry = self.entries[index].take().ok_or(NotAnswerable::NoSuchCall)?;
        self.closed(call);
        Ok(entry)
    }

    /// Closes a call that will not be answered.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Entry> {
        self.get(ticket)?;
        let entry = self.entries[ticket.call as usize - 1].take();
        self.closed(ticket.call);
        entry
    }

    fn closed(&mut self, call: u32) {
        self.open -= 1;
        self.free.push(call);
        // Most calls are answered in order, so little stays behind.
        let before = self.order.front().copied();
        let first = self.first();
        if self.times_runs && first != before {
            let runs = first.and_then(|t| self.get(t)).is_some_and(|e| e.runs().is_some());
            self.since = runs.then(Instant::now);
        }
        if self.order.len() > 2 * self.open + SLACK {
            // Behind one that takes long, many have come and gone.
            self.all();
            let deadlines = std::mem::take(&mut self.deadlines);
            self.deadlines = deadlines.into_iter().filter(|(_, t)| self.is_open(*t)).collect();
        }
        while let Some((_, ticket)) = self.deadlines.front().copied()
            && !self.is_open(ticket)
        {
            self.deadlines.pop_front();
        }
    }

    /// All open calls, in the order in which they were made.
    pub(super) fn all(&mut self) -> Vec<Ticket> {
        let all = std::mem::take(&mut self.order);
        self.order = all.into_iter().filter(|t| self.is_open(*t)).collect();
        self.order.iter().copied().collect()
    }

    /// Calls whose time is up and that still have somebody who waits.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Ticket> {
        let mut overdue = Vec::new();
        if let Some((_, ticket)) = self.runs_until().filter(|(until, _)| *until <= now) {
            overdue.push(ticket);
        }
        while let Some((deadline, ticket)) = self.deadlines.front().copied()
            && deadline <= now
        {
            self.deadlines.pop_front();
            if self.get(ticket).is_some_and(|e| e.slot.is_some()) {
                overdue.push(ticket);
            }
        }
        overdue
    }

    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        let runs = self.runs_until().map(|(until, _)| until);
        let next = self.deadlines.front().map(|(deadline, _)| *deadline);
        runs.into_iter().chain(next).min()
    }

    /// The init function has returned: the first call begins now.
    pub(super) fn ready(&mut self) {
        self.since = self.since.map(|_| Instant::now());
    }

    /// Until when the first of all open calls may run, and which it is; none that was
    /// cancelled already.
    pub(super) fn runs_until(&mut self) -> Option<(Instant, Ticket)> {
        let (since, first) = (self.since?, self.first()?);
        let entry = self.get(first)?;
        let limit = entry.runs().filter(|_| entry.slot.is_some())?;
        Some((since.checked_add(limit)?, first))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::super::super::codec::Body;
    use super::*;
    use crate::error::Fault;

    struct Nobody;

    impl Complete for Nobody {
        fn reply(&self, _: &Body<'_>, _: Vec<OwnedFd>) {}
        fn fail(&self, _: Fault) {}
    }

    #[test]
    fn what_comes_and_goes_behind_an_open_call_is_forgotten() {
        let mut book = Book::default();
        let until = Time::Until(Instant::now() + Duration::from_secs(1));
        let add = |book: &mut Book| book.add(Arc::new(Nobody), Place::default(), until);
        let first = add(&mut book);
        for _ in 0..10_000 {
            let (one, two) = (add(&mut book), add(&mut book));
            for ticket in [two, one] {
                assert!(book.answered(ticket.call, Style::Async, |_| false).is_ok());
            }
        }
        assert!(book.order.len() <= 4 * SLACK && book.deadlines.len() <= 4 * SLACK);
        assert_eq!(book.first(), Some(first));
        assert_eq!(book.all(), [first]);
        let late = Instant::now() + Duration::from_secs(2);
        assert_eq!(book.overdue(late), [first]);
    }
}
