//! The calls of a map: made as there is use for them, and their results as they come.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use super::attend::Reading;
use super::core::{Core, Full};
use super::errand::{Errand, Goal, Job, Sink, Wishes};
use super::handle::frame;
use super::room::InLine;
use crate::error::{Error, Fault};
use crate::lead::Seat;
use crate::rpc::pooled::{Speech, quietly};

/// Results that are handed out before more is read: few, as the hub would read in place of
/// a thread that stays away for long.
const BATCH: usize = 128;

/// Where results arrive, in whatever order.
struct Arrivals<R> {
    /// How many there are.
    count: AtomicUsize,
    state: Mutex<Arrived<R>>,
}

struct Arrived<R> {
    results: VecDeque<(u64, Result<R, Error>)>,
    seat: Option<Arc<Seat>>,
    waker: Option<Waker>,
}

impl<R> Arrivals<R> {
    fn none() -> Arc<Arrivals<R>> {
        let state = Arrived { results: VecDeque::new(), seat: None, waker: None };
        Arc::new(Arrivals { count: AtomicUsize::new(0), state: Mutex::new(state) })
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Arrived<R>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<R: Send> Sink<R> for Arrivals<R> {
    fn put(&self, index: u64, outcome: Result<R, Error>) {
        let mut state = self.lock();
        state.results.push_back((index, outcome));
        self.count.store(state.results.len(), Ordering::Release);
        let (seat, waker) = (state.seat.take(), state.waker.take());
        drop(state);
        if let Some(seat) = seat {
            seat.ring();
        }
        if let Some(waker) = waker {
            quietly(|| waker.wake());
        }
    }
}

/// The items whose results are to come, each in the place under which its call knows it.
#[derive(Default)]
struct Places {
    items: Vec<Option<u64>>,
    free: Vec<u64>,
}

impl Places {
    fn add(&mut self, item: u64) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.items.push(None);
            self.items.len() as u64 - 1
        });
        self.items[place as usize] = Some(item);
        place
    }

    fn remove(&mut self, place: u64) -> u64 {
        self.free.push(place);
        self.items[place as usize].take().expect("a call has one result")
    }

    /// Takes out the first of the items.
    fn pop_first(&mut self) -> Option<u64> {
        let there = self.items.iter().zip(0..).filter_map(|(item, place)| Some(((*item)?, place)));
        there.min().map(|(_, place)| self.remove(place))
    }
}

/// The calls of one map.
pub(super) struct Flow<I, A: 'static, R: 'static, E: 'static> {
    core: Arc<Core>,
    speech: &'static Speech<A, R, E>,
    items: Option<I>,
    /// One for which there was no room.
    held: Option<(u64, Arc<Errand<R>>)>,
    line: InLine,
    places: Places,
    arrivals: Arc<Arrivals<R>>,
    /// Results that have been taken from there.
    ready: VecDeque<(u64, Result<R, Error>)>,
    /// Calls that were made.
    made: u64,
    /// Those of them of which the results have not been taken.
    open: u64,
    /// How many there may be, as of when results were taken last.
    window: u64,
    /// It is waited for where it must not be: its items get an error.
    would_deadlock: bool,
}

impl<I, A, R, E> Flow<I, A, R, E>
where
    I: Iterator<Item = A>,
    R: Send + 'static,
    E: Send + 'static,
{
    pub(super) fn new(core: Arc<Core>, speech: &'static Speech<A, R, E>, items: I) -> Self {
        Flow {
            line: InLine::new(&core),
            core,
            speech,
            items: Some(items),
            held: None,
            places: Places::default(),
            arrivals: Arrivals::none(),
            ready: VecDeque::new(),
            made: 0,
            open: 0,
            window: 0,
            would_deadlock: false,
        }
    }

    /// Makes a call of the next item; whether there was one, and room.
    fn make_one(&mut self, full: Full, attended: bool) -> bool {
        let (place, errand) = match self.held.take() {
            Some(held) => held,
            None => {
                let Some(item) = self.items.as_mut().and_then(Iterator::next) else {
                    self.items = None;
                    return false;
                };
                let place = self.places.add(self.made);
                let frame = match frame(self.speech, &item) {
                    Ok(frame) => frame,
                    Err(error) => {
                        self.made += 1;
                        self.open += 1;
                        self.arrivals.put(place, Err(error));
                        return true;
                    }
                };
                let goal = Goal::Sink(Arc::clone(&self.arrivals) as _, place);
                let decode = self.speech.decode_reply;
                let wishes = Wishes { attended, ..Wishes::default() };
                (place, Errand::new(&self.core, frame, wishes, goal, decode))
            }
        };
        let submitted = match self.would_deadlock {
            true => Err(Fault::WouldDeadlock.into()),
            false => self.core.submit(Arc::clone(&errand) as Arc<dyn Job>, full),
        };
        match submitted {
            Ok(()) => {}
            Err(error) if error.is_full() && full == Full::Refuse => {
                self.held = Some((place, errand));
                return false;
            }
            Err(error) => self.arrivals.put(place, Err(error)),
        }
        self.line.leave();
        self.made += 1;
        self.open += 1;
        true
    }

    /// Makes calls until there are `most` on their way, as long as nothing has come.
    fn make(&mut self, most: u64, attended: bool) {
        while self.open < most && self.make_one(Full::Refuse, attended) {
            if self.ready.is_empty() && self.arrivals.count() > 0 {
                break;
            }
        }
    }

    /// Takes of what has come as much as is handed out at once; whether there is anything.
    fn take(&mut self, arrived: &mut Arrived<R>) -> bool {
        let most = arrived.results.len().min(BATCH);
        let taken = arrived.results.drain(..most);
        self.ready.extend(taken.map(|(place, result)| (self.places.remove(place), result)));
        self.arrivals.count.store(arrived.results.len(), Ordering::Release);
        self.open -= self.ready.len() as u64;
        !self.ready.is_empty()
    }

    /// Takes what has come; without anything, reads what the workers say, and waits for it.
    fn wait(&mut self) {
        if self.open == 0 && self.held.is_some() {
            // Others have filled the queue.
            self.make_one(Full::Wait, true);
        }
        let (core, arrivals) = (Arc::clone(&self.core), Arc::clone(&self.arrivals));
        let mut reading = Reading::begin(&core);
        loop {
            let more = reading.as_mut().is_some_and(|r| r.read(|| arrivals.count() >= BATCH));
            let mut arrived = arrivals.lock();
            if self.take(&mut arrived) {
                return;
            }
            if more {
                continue;
            }
            assert!(
                !self.would_deadlock,
                "a callback waits for a map that was begun outside of it: that would be for ever"
            );
            let seat = Seat::new();
            arrived.seat = Some(Arc::clone(&seat));
            drop(arrived);
            match &mut reading {
                Some(reading) => reading.sleep(&seat),
                None => seat.sleep(None),
            }
        }
    }

    /// Takes what has come; without anything, has `waker` woken.
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let arrivals = Arc::clone(&self.arrivals);
        let mut arrived = arrivals.lock();
        if self.take(&mut arrived) {
            return Poll::Ready(());
        }
        arrived.waker = Some(waker.clone());
        drop(arrived);
        if self.open == 0 {
            self.line.wait_or_wake(waker);
        }
        Poll::Pending
    }

    /// In a fork of the program, the results of calls that were made before it do not come:
    /// an error for one of those, if there are any.
    fn next_lost(&mut self) -> Option<(u64, Error)> {
        let error = self.core.check().err()?;
        if self.held.take().is_some() {
            self.made += 1;
            self.open += 1;
        }
        let item = self.places.pop_first()?;
        self.open -= 1;
        // A lock may be held by a thread that is not there.
        self.arrivals = Arrivals::none();
        Some((item, error))
    }

    /// The next result of any item. `extra` results are kept back, and count as calls.
    pub(super) fn next(
        &mut self,
        extra: u64,
        waker: Option<&Waker>,
    ) -> Poll<Option<(u64, Result<R, Error>)>> {
        self.would_deadlock = waker.is_none() && self.core.cannot_wait();
        loop {
            if self.ready.is_empty() {
                if let Some((item, error)) = self.next_lost() {
                    return Poll::Ready(Some((item, Err(error))));
                }
                self.window = self.core.window();
            }
            // Whoever has results to hand out should not wait for items first.
            let most = if self.ready.is_empty() { self.window } else { self.window / 2 };
            self.make(most.saturating_sub(extra + self.ready.len() as u64), waker.is_none());
            if let Some(result) = self.ready.pop_front() {
                return Poll::Ready(Some(result));
            }
            if self.open == 0 && self.held.is_none() && self.items.is_none() {
                return Poll::Ready(None);
            }
            if self.open == 0 && self.held.is_none() {
                // Room for none beside what is kept back: one has to go on.
                self.make(1, waker.is_none());
                continue;
            }
            match waker {
                None => self.wait(),
                Some(waker) if self.poll(waker).is_pending() => return Poll::Pending,
                Some(_) => {}
            }
        }
    }
}
