//! Looking at what has arrived, without waiting: before a call is said to be late, or its
//! worker is killed for it.
//!
//! Where another thread reads, it may be kept by a callback while the answer lies in the
//! socket. So it says how far it has come: how much it has received, of which the rest is
//! what it has not handed out; or that it sleeps, which it does not while there is anything.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::frame::HEADER;
use super::receive::TURN;
use super::{Conn, Reader, lock};
use crate::sys::{fdpass, ring};

/// In place of how much has been received: whoever reads is about to find out, or sleeps.
pub(super) const READS: u64 = u64::MAX;
pub(super) const SLEEPS: u64 = u64::MAX - 1;

/// One who could not look, looks again after this time.
pub(crate) const LOOKS_AGAIN: Duration = Duration::from_millis(1);

/// A callback that keeps whoever reads for longer than this may itself be waiting for a call
/// to end, and would wait for ever for one that has time until the callback is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// A look that another thread, which reads, has to come to the end of.
pub(crate) struct Look {
    /// When it began.
    pub(super) since: Instant,
    /// What had arrived then: so far in the stream, and in the ring.
    upto: Option<(u64, u64)>,
}

impl Look {
    pub(crate) fn begin() -> Look {
        Look { since: Instant::now(), upto: None }
    }
}

impl Conn {
    /// Hands out what has arrived, without waiting, and not what arrives meanwhile: that
    /// may have no end.
    pub(crate) fn look(&self) {
        self.look_for(|| false);
    }

    /// The same, up to what is `enough`. False if that is another thread's affair, which
    /// reads.
    pub(crate) fn look_for(&self, mut enough: impl FnMut() -> bool) -> bool {
        if self.is_calling_back() {
            return false;
        }
        let mut looked = false;
        self.lead.poll(|| {
            looked = true;
            let mut reader = lock(&self.reader);
            // Most often that was all, and nobody has to be asked how much there is.
            if self.drain(&mut reader, TURN, &mut enough) {
                let all = self.arrived(&reader);
                self.drain(&mut reader, all, enough);
            }
        });
        self.arm();
        looked
    }

    /// The same. Whether all has been handed out that was there when `look` began, or
    /// enough of it; else to be asked again. Not for ever: see [`PATIENCE`].
    pub(crate) fn has_looked(&self, look: &mut Look, enough: impl FnMut() -> bool) -> bool {
        if self.look_for(enough) || self.read_ended.load(Ordering::Acquire) {
            return true;
        }
        if look.since.elapsed() >= PATIENCE {
            return true;
        }
        // In this order: what is received in between counts twice, rather than not at all.
        let arrived = fdpass::arrived(self.child.stream()) as u64;
        let ring = self.ring.get();
        match self.received.load(Ordering::Acquire) {
            // It has been woken, perhaps, but not run.
            SLEEPS => arrived == 0,
            READS => false,
            received => {
                let all = || (received + arrived, ring.map_or(0, ring::Ring::written));
                let (stream, ringed) = *look.upto.get_or_insert_with(all);
                self.position.load(Ordering::Acquire) >= stream
                    && self.position_in_ring.load(Ordering::Acquire) >= ringed
            }
        }
    }

    /// No fewer than the frames that have arrived, and not been handed out.
    fn arrived(&self, reader: &Reader) -> usize {
        let stream = reader.inbox.waiting() + fdpass::arrived(self.child.stream());
        let ring = self.ring.get().map_or(0, |_| ring::ROOM);
        // And one turn for the end, which is behind them.
        (stream + ring) / HEADER + 1
    }

    /// For those who look: this thread is about to read, or to sleep.
    #[inline]
    pub(super) fn reads(&self, how: u64) {
        self.received.store(how, Ordering::Release);
    }

    /// It has read.
    #[inline]
    pub(super) fn has_read(&self, reader: &Reader) {
        self.received.store(reader.inbox.received(), Ordering::Release);
    }
}
