//! A model of one control socket and of what `link.rs` does with it: slots, blocking
//! waiters, and the hub.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::lead::{Lead, Seat};
use crate::sync::{Arc, Condvar, Instant, Mutex};

/// What is known of one answer, and who is to be told.
#[derive(Default)]
struct Slot {
    answer: Option<u32>,
    seats: Vec<Arc<Seat>>,
    /// Somebody who does not wait in person: a future's waker.
    waker: Option<Arc<Alarm>>,
}

/// Rings once, for one who sleeps until then.
#[derive(Default)]
pub struct Alarm {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Alarm {
    /// Wakes the sleeper, now or when it comes to sleep.
    pub fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.bell.notify_all();
    }

    /// Sleeps until it has rung.
    pub fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.bell.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// Bytes on their way: answers, in the order in which they are read.
#[derive(Default)]
struct Wire {
    answers: Mutex<VecDeque<u32>>,
    readable: Condvar,
}

/// The parent's end of it.
pub struct Link {
    wire: Wire,
    lead: Lead,
    slots: BTreeMap<u32, Mutex<Slot>>,
    /// One pumps at most. No primitive of the checker's: it is what is checked.
    pumping: AtomicBool,
    /// The hub's interest in the socket.
    armed: Mutex<bool>,
    hub: Alarm,
    stopped: AtomicBool,
    watched: bool,
}

impl Link {
    /// One on which these answers are awaited; `watched`: some of them by the hub.
    pub fn new(ids: impl IntoIterator<Item = u32>, watched: bool) -> Arc<Link> {
        Arc::new(Link {
            wire: Wire::default(),
            lead: Lead::new(),
            slots: ids.into_iter().map(|id| (id, Mutex::default())).collect(),
            pumping: AtomicBool::new(false),
            armed: Mutex::new(false),
            hub: Alarm::default(),
            stopped: AtomicBool::new(false),
            watched,
        })
    }

    /// The template answers.
    pub fn answer(&self, id: u32) {
        self.wire.answers.lock().unwrap().push_back(id);
        self.wire.readable.notify_all();
        self.poke_hub();
    }

    /// Waits in person.
    pub fn wait(&self, id: u32, deadline: Option<Instant>) -> Option<u32> {
        let slot = &self.slots[&id];
        let seat = Seat::new();
        {
            let mut slot = slot.lock().unwrap();
            if slot.answer.is_some() {
                return slot.answer;
            }
            slot.seats.push(Arc::clone(&seat));
        }
        let look = || slot.lock().unwrap().answer;
        let answer = self.lead.wait(&seat, deadline, look, |d| self.pump(d));
        slot.lock().unwrap().seats.retain(|s| !Arc::ptr_eq(s, &seat));
        self.arm();
        answer
    }

    /// Waits as a future does: leaves an alarm, and the reading to others.
    pub fn wait_by_alarm(&self, id: u32) -> u32 {
        let alarm = Arc::new(Alarm::default());
        {
            let mut slot = self.slots[&id].lock().unwrap();
            if let Some(answer) = slot.answer {
                return answer;
            }
            slot.waker = Some(Arc::clone(&alarm));
        }
        self.arm();
        alarm.sleep();
        self.slots[&id].lock().unwrap().answer.expect("that is what it has rung for")
    }

    /// Reads what is there, as each new request does now and then.
    pub fn drain(&self) {
        self.lead.poll(|| {
            let _one = self.pump_begins();
            while self.read_one() {}
        });
        self.arm();
    }

    /// One turn of the hub: waits until there is something to read on an armed
    /// socket, and reads it. Whether there is to be another.
    pub fn hub_turn(&self) -> bool {
        self.hub.sleep();
        let fires = self.readable_now() && std::mem::take(&mut *self.armed.lock().unwrap());
        if fires {
            self.drain();
        }
        !self.stopped.load(Ordering::SeqCst)
    }

    /// Ends the hub after this turn.
    pub fn stop_hub(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.poke_hub();
    }

    fn poke_hub(&self) {
        self.hub.ring();
    }

    fn readable_now(&self) -> bool {
        !self.wire.answers.lock().unwrap().is_empty()
    }

    fn arm(&self) {
        if !self.watched {
            return;
        }
        self.lead.if_idle(|| {
            *self.armed.lock().unwrap() = true;
            // Armed on something that is there already, epoll tells at once.
            if self.readable_now() {
                self.poke_hub();
            }
        });
    }

    fn pump_begins(&self) -> impl Drop {
        struct Ends<'a>(&'a AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }
        assert!(!self.pumping.swap(true, Ordering::SeqCst), "two lead at the same time");
        Ends(&self.pumping)
    }

    fn pump(&self, deadline: Option<Instant>) {
        let _one = self.pump_begins();
        *self.armed.lock().unwrap() = false;
        {
            let mut answers = self.wire.answers.lock().unwrap();
            while answers.is_empty() {
                let Some(deadline) = deadline else {
                    answers = self.wire.readable.wait(answers).unwrap();
                    continue;
                };
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                answers = self.wire.readable.wait_timeout(answers, left).unwrap().0;
            }
        }
        self.read_one();
    }

    fn read_one(&self) -> bool {
        let Some(id) = self.wire.answers.lock().unwrap().pop_front() else { return false };
        let (seats, waker) = {
            let mut slot = self.slots[&id].lock().unwrap();
            assert!(slot.answer.replace(id * 10).is_none(), "an answer is read once");
            (slot.seats.clone(), slot.waker.take())
        };
        seats.iter().for_each(|seat| seat.ring());
        if let Some(alarm) = waker {
            alarm.ring();
        }
        true
    }
}
