//! One call of a pool, wherever it is: queued, at a worker, put back, over.

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use tracing::Span;

use super::core::Core;
use super::member::Member;
use super::observe;
use super::scheduler::JobKey;
use crate::error::{Error, Fault};
use crate::lead::Seat;
use crate::rpc::pooled::{Body, CodecError, Complete, Frame, LOOKS_AGAIN, Look, OnResult, Pooled};
use crate::rpc::pooled::{Slot, Ticket, decoded, quietly};

/// What the scheduler passes on, whatever its types.
pub(super) trait Job: Complete + Pooled {
    fn card(&self) -> &Card;
    /// It has failed for good.
    fn refuse(&self, fault: Fault);
    /// It is somewhere else now: whoever waits has to look.
    fn moved(&self);
    fn as_complete(self: Arc<Self>) -> Arc<dyn Complete>;
}

/// What the pool notes about a job.
pub(super) struct Card {
    pub(super) core: Arc<Core>,
    /// How long it may run, if not as long as any.
    pub(super) time: Option<Duration>,
    pub(super) priority: i32,
    /// Whoever makes it is about to wait for it, and to read what its worker says.
    pub(super) attended: AtomicBool,
    noted: Mutex<Noted>,
}

pub(super) struct Noted {
    /// The call, encoded. One with descriptors is gone once it has been sent, as a program
    /// may wait until nobody holds them.
    pub(super) frame: Option<Frame>,
    pub(super) place: Place,
    pub(super) key: Option<JobKey>,
    /// It was cancelled while it was on its way.
    pub(super) cancelled: bool,
    /// It may be started so often after a worker has died of it.
    pub(super) retries: u32,
    pub(super) made: Instant,
    pub(super) sent: Instant,
    pub(super) span: Span,
}

#[derive(Clone)]
pub(super) enum Place {
    Queued,
    /// Somebody is giving it to a worker.
    Sending(Arc<Member>),
    Sent(Arc<Member>, Ticket),
    Over,
}

impl Place {
    pub(super) fn member(&self) -> Option<&Arc<Member>> {
        match self {
            Place::Sending(member) | Place::Sent(member, _) => Some(member),
            Place::Queued | Place::Over => None,
        }
    }
}

/// How a call is to be made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    pub(super) priority: i32,
    pub(super) retries: u32,
    pub(super) time: Option<Duration>,
    /// Whoever makes it will read what its worker says.
    pub(super) attended: bool,
}

impl Card {
    /// The pool does not take it: whoever looks on is told.
    pub(super) fn not_taken(&self, fault: &Fault) {
        observe::not_taken(&self.note().span, fault);
    }

    pub(super) fn note(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Who is told.
pub(super) enum Goal<R> {
    Slot(Arc<Slot<R>>),
    Then(Mutex<Option<OnResult<R>>>),
    Sink(Arc<dyn Sink<R>>, u64),
}

/// Where the results of many calls go.
pub(super) trait Sink<R>: Send + Sync {
    fn put(&self, index: u64, outcome: Result<R, Error>);
}

pub(super) struct Errand<R> {
    card: Card,
    goal: Goal<R>,
    decode: fn(&Body<'_>) -> Result<R, CodecError>,
    me: Weak<Errand<R>>,
}

impl<R: Send + 'static> Errand<R> {
    pub(super) fn new(
        core: &Arc<Core>,
        frame: Frame,
        wishes: Wishes,
        goal: Goal<R>,
        decode: fn(&Body<'_>) -> Result<R, CodecError>,
    ) -> Arc<Errand<R>> {
        let made = Instant::now();
        let noted = Noted {
            frame: Some(frame.settled()),
            place: Place::Queued,
            key: None,
            cancelled: false,
            retries: wishes.retries,
            made,
            sent: made,
            span: observe::span(core.plan.launcher.name),
        };
        let card = Card {
            core: Arc::clone(core),
            time: wishes.time,
            priority: wishes.priority,
            attended: AtomicBool::new(wishes.attended || matches!(goal, Goal::Slot(_))),
            noted: Mutex::new(noted),
        };
        Arc::new_cyclic(|me| Errand { card, goal, decode, me: me.clone() })
    }

    fn tell(&self, outcome: Result<R, Error>) {
        match &self.goal {
            Goal::Slot(slot) => slot.tell(outcome),
            Goal::Then(then) => {
                let then = then.lock().unwrap_or_else(|e| e.into_inner()).take();
                if let Some(then) = then {
                    quietly(|| then(outcome));
                }
            }
            Goal::Sink(sink, index) => sink.put(*index, outcome),
        }
    }
}

impl<R: Send + 'static> Errand<R> {
    fn fails(&self, fault: Fault, given_up: bool) {
        let Some(me) = self.me.upgrade() else { return };
        let job: Arc<dyn Job> = me;
        match self.card.core.failed(&job, fault, given_up) {
            Some(fault) => self.tell(Err(fault.into())),
            None => self.moved(),
        }
    }

    /// It has failed before it was taken in.
    pub(super) fn refuse_with(&self, error: Error) {
        self.tell(Err(error));
    }
}

impl<R: Send + 'static> Complete for Errand<R> {
    fn reply(&self, body: &Body<'_>, fds: Vec<OwnedFd>) {
        let outcome = decoded(self.decode, body, fds);
        // First the worker's next job, and the figures; then whoever waits.
        self.card.core.answered(&self.card, outcome.is_ok());
        self.tell(outcome);
    }

    fn fail(&self, fault: Fault) {
        self.fails(fault, false);
    }

    fn give_up(&self, fault: Fault) {
        self.fails(fault, true);
    }
}

impl<R: Send + 'static> Job for Errand<R> {
    fn card(&self) -> &Card {
        &self.card
    }

    fn refuse(&self, fault: Fault) {
        self.card.note().place = Place::Over;
        self.tell(Err(fault.into()));
    }

    fn moved(&self) {
        if let Goal::Slot(slot) = &self.goal {
            slot.poke();
        }
    }

    fn as_complete(self: Arc<Self>) -> Arc<dyn Complete> {
        self
    }
}

impl<R: Send + 'static> Pooled for Errand<R> {
    fn check(&self) -> Result<(), Error> {
        self.card.core.check()
    }

    fn cannot_wait(&self) -> bool {
        self.card.core.cannot_wait()
    }

    /// Whoever waits reads what the worker says by himself; while the call is queued, the
    /// hub reads for all.
    fn wait(
        &self,
        sit: &dyn Fn() -> Arc<Seat>,
        deadline: Option<Instant>,
        done: &mut dyn FnMut() -> bool,
    ) {
        // Where another thread reads, and is in a callback: when to look again.
        let (mut look, mut again) = (None, None);
        while !done() && deadline.is_none_or(|d| Instant::now() < d) {
            let place = self.card.note().place.clone();
            if let Place::Sent(member, ticket) = &place
                && let Some(conn) = member.conn()
            {
                let is_here =
                    || matches!(&self.card.note().place, Place::Sent(_, t) if t == ticket);
                // Nobody else can wake a thread that reads, and the worker may not answer.
                let due = conn.due(*ticket).map(|due| again.map_or(due, |again| due.max(again)));
                let until = due.into_iter().chain(deadline).min();
                let told = conn.wait(sit, until, || (done() || !is_here()).then_some(()));
                again = None;
                if told.is_some() {
                    look = None;
                } else if due.is_some()
                    && !conn.too_late(*ticket, look.get_or_insert_with(Look::begin))
                {
                    again = Some(Instant::now() + LOOKS_AGAIN);
                }
                continue;
            }
            let seat = sit();
            // It may have come between looking and sitting.
            if !done() {
                seat.sleep(deadline);
            }
        }
    }

    fn watch(&self) -> Result<(), Error> {
        let place = self.card.note().place.clone();
        if let Some(conn) = place.member().and_then(|member| member.conn()) {
            conn.arm();
        }
        Ok(())
    }

    fn look(&self, enough: &dyn Fn() -> bool) {
        // What comes may be for the callback that this is in.
        if self.card.core.is_calling_back() {
            return;
        }
        let place = self.card.note().place.clone();
        if let Some(conn) = place.member().and_then(|member| member.conn()) {
            conn.look_for(enough);
        }
    }

    fn cancel(&self) {
        if let Some(me) = self.me.upgrade() {
            self.card.core.cancel(me);
        }
    }
}
