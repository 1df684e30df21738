//! Those who wait for room, in the order in which they came.
//!
//! One is told for each place that becomes free, not all: with a thousand in line, most of
//! the time would go into waking those who find nothing. What must hold: while there is
//! room and somebody is in line, one has been told and has not looked yet. So each who was
//! told, and takes a place or goes away, has the next one told if there is room still; and
//! whoever finds none, since somebody else was quicker, waits again in the place that it
//! had, before all who came later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::hub::unharmed;
use crate::lead::Seat;

/// A task that was told may not be run for long: after this time the next one is told.
pub(crate) const LOOKS_WITHIN: Duration = Duration::from_millis(10);

/// A line of those who wait for room.
#[derive(Default)]
pub(crate) struct Line {
    waiting: BTreeMap<u64, Waiter>,
    /// Places that were given.
    given: u64,
}

pub(crate) enum Waiter {
    Thread(Arc<Seat>),
    Task(Waker),
}

impl Waiter {
    /// Not with a lock: wakers are the user's code. A panic of one ends here.
    pub(crate) fn tell(self) {
        match self {
            Waiter::Thread(seat) => seat.ring(),
            Waiter::Task(waker) => unharmed(|| waker.wake()),
        }
    }

    pub(crate) fn is_thread(&self) -> bool {
        matches!(self, Waiter::Thread(_))
    }
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits in its place, at the end of the line if it has none yet. What waited there
    /// before is to be dropped without a lock.
    pub(crate) fn wait(&mut self, place: &mut Option<u64>, waiter: Waiter) -> Option<Waiter> {
        let place = *place.get_or_insert_with(|| {
            self.given += 1;
            self.given
        });
        self.waiting.insert(place, waiter)
    }

    /// Whoever has this place does not wait any more; what is to be dropped.
    pub(crate) fn leave(&mut self, place: u64) -> Option<Waiter> {
        self.waiting.remove(&place)
    }

    /// Who is to be told first.
    pub(crate) fn next(&mut self) -> Option<Waiter> {
        self.waiting.pop_first().map(|(_, waiter)| waiter)
    }

    /// All, in their order: there will be no more room.
    pub(crate) fn all(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    /// In a fork of the program: its other threads are not there, and would be told in vain.
    pub(crate) fn forget_threads(&mut self) {
        self.waiting.retain(|_, waiter| !waiter.is_thread());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Told(AtomicUsize);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Told {
        fn waiter(self: &Arc<Told>) -> Waiter {
            Waiter::Task(Arc::clone(self).into())
        }

        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn one_at_a_time_is_told_in_the_order_in_which_they_came() {
        let mut line = Line::default();
        let (told, mut places) = ([0, 1, 2].map(|_| Arc::<Told>::default()), [None; 3]);
        for (told, place) in told.iter().zip(&mut places) {
            assert!(line.wait(place, told.waiter()).is_none());
        }
        line.next().expect("three wait").tell();
        assert_eq!(told.each_ref().map(|t| t.times()), [1, 0, 0]);
        // It came too late, and is the first still.
        assert!(line.wait(&mut places[0], told[0].waiter()).is_none());
        line.next().expect("three wait").tell();
        line.next().expect("two wait").tell();
        assert_eq!(told.each_ref().map(|t| t.times()), [2, 1, 0]);
        line.next().expect("one waits").tell();
        assert!(line.is_empty() && line.next().is_none());
        assert_eq!(told.each_ref().map(|t| t.times()), [2, 1, 1]);
    }

    #[test]
    fn who_has_left_is_not_told() {
        let mut line = Line::default();
        let (one, other) = (Arc::<Told>::default(), Arc::<Told>::default());
        let (mut first, mut second) = (None, None);
        line.wait(&mut first, one.waiter());
        line.wait(&mut second, other.waiter());
        // By another task, in the same place.
        assert!(line.wait(&mut first, one.waiter()).is_some());
        assert!(line.leave(first.expect("it waits")).is_some());
        assert!(line.leave(first.expect("it waited")).is_none());
        line.all().into_iter().for_each(Waiter::tell);
        assert_eq!((one.times(), other.times()), (0, 1));
        assert_eq!((Arc::strong_count(&one), Arc::strong_count(&other)), (1, 1));
    }

    #[test]
    fn threads_of_another_process_are_forgotten() {
        let mut line = Line::default();
        let told = Arc::<Told>::default();
        line.wait(&mut None, Waiter::Thread(Seat::new()));
        line.wait(&mut None, told.waiter());
        line.forget_threads();
        line.next().expect("the task waits").tell();
        assert!(line.is_empty());
        assert_eq!(told.times(), 1);
    }
}
