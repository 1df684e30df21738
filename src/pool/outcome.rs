//! How jobs end: answered, failed, put back, cancelled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use super::core::Core;
use super::errand::{Card, Job, Place};
use super::member::Member;
use super::observe::{self, Over};
use super::scheduler::{Why, WorkerId};
use super::state::{Failure, State};
use crate::error::{Ended, Fault, is_shortage};
use crate::rpc::pooled::Style;

/// What a worker has done of a job that fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing: it was never sent, or waited behind another one.
    None,
    /// It is over, or will be at once, with the process.
    Over,
    /// It may run on, though nobody waits for it: it keeps its place.
    RunsOn,
}

/// A job that has failed for good.
pub(super) struct Failed {
    fault: Fault,
    over: Over,
    member: Arc<Member>,
}

impl Failed {
    /// Tells those who look on; what the caller is to be told.
    pub(super) fn tell(self) -> Fault {
        self.over.tell(|| self.member.pid());
        self.fault
    }
}

impl Core {
    /// A job has had its answer.
    pub(super) fn answered(&self, card: &Card, good: bool) {
        let now = Instant::now();
        let (place, made, sent, span) = {
            let mut noted = card.note();
            noted.frame = None;
            let place = std::mem::replace(&mut noted.place, Place::Over);
            (place, noted.made, noted.sent, std::mem::replace(&mut noted.span, Span::none()))
        };
        let Some(member) = place.member() else { return };
        let Some(id) = member.id() else { return };
        let limit = self.plan.max_memory;
        let fat = limit.is_some_and(|limit| member.resident().is_some_and(|now| now > limit));
        let run = self.ran(member, sent, now);
        let wait = now.saturating_duration_since(made).saturating_sub(run);
        let outcome = if good { "done" } else { "codec" };
        Over { worker: self.plan.launcher.name, span, outcome, wait, run }.tell(|| member.pid());
        let mut state = self.lock();
        if good {
            state.stats.done += 1;
        } else {
            state.stats.failed.codec += 1;
        }
        state.stats.run.record(run);
        state.stats.wait.record(wait);
        if fat {
            state.scheduler.retire(id, now, Why::Memory);
        }
        state.running -= 1;
        state.scheduler.done(id, now);
        self.carry_out(state, now);
    }

    fn ran(&self, member: &Member, sent: Instant, now: Instant) -> Duration {
        match self.plan.launcher.style {
            Style::Sync => member.ran(self.begun, sent, now),
            Style::Async => now.saturating_duration_since(sent),
        }
    }

    /// A job has failed at a worker. What its caller is told; nothing if it is made again.
    /// `given_up`: it is cancelled, or out of time, and its worker does not know yet.
    pub(super) fn failed(&self, job: &Arc<dyn Job>, fault: Fault, given_up: bool) -> Option<Fault> {
        let now = Instant::now();
        let doomed = if given_up { doomed(job) } else { None };
        let progress = match self.plan.launcher.style {
            Style::Async if given_up => Progress::RunsOn,
            // It runs the first of what it has, and is killed with that.
            Style::Sync if given_up && doomed.is_none() => Progress::None,
            _ => Progress::Over,
        };
        let mut state = self.lock();
        if let Some(id) = doomed {
            // It is about to be killed: the next call is not for this one.
            state.scheduler.retire(id, now, Why::Asked);
        }
        let told = self.note_failed(&mut state, job, fault, progress, now);
        self.carry_out(state, now);
        told.map(Failed::tell)
    }

    /// The same, under the lock; whoever looks on is told without it.
    pub(super) fn note_failed(
        &self,
        state: &mut State,
        job: &Arc<dyn Job>,
        fault: Fault,
        progress: Progress,
        now: Instant,
    ) -> Option<Failed> {
        let card = job.card();
        let mut noted = card.note();
        let member = noted.place.member()?.clone();
        let id = member.id()?;
        let dies = match &fault {
            Fault::Ended(_) | Fault::Init(_) | Fault::Protocol(_) => true,
            Fault::Panic { .. } => {
                self.plan.launcher.style == Style::Sync && !self.plan.keep_after_panic
            }
            _ => false,
        };
        if dies {
            // A pool that this breaks is to say why.
            state.note_failure(&member, || Failure::of(&fault));
        }
        if dies && fault.errno().is_some_and(is_shortage) {
            state.scheduler.short(id, now);
        } else if dies {
            state.scheduler.down(id, now);
        }
        state.running -= 1;
        match progress {
            Progress::RunsOn => state.runs_on(&member),
            Progress::None | Progress::Over => state.scheduler.done(id, now),
        }
        let untouched =
            matches!(&fault, Fault::Ended(Ended { started: Some(false), .. }) | Fault::Init(_));
        let fault = if untouched && state.killed { Fault::PoolEnded } else { fault };
        let mut again = untouched;
        if matches!(fault, Fault::Ended(_)) && !untouched && noted.retries > 0 {
            noted.retries -= 1;
            again = true;
        }
        if again
            && noted.frame.is_some()
            && !noted.cancelled
            && !state.killed
            && let Some(key) = noted.key
        {
            noted.place = Place::Queued;
            drop(noted);
            if untouched {
                state.stats.moved += 1;
            } else {
                state.stats.retried += 1;
            }
            state.scheduler.put_back(key, Arc::clone(job), now);
            return None;
        }
        noted.place = Place::Over;
        noted.frame = None;
        let (made, sent) = (noted.made, noted.sent);
        let span = std::mem::replace(&mut noted.span, Span::none());
        drop(noted);
        // What has not run says nothing of those that do.
        let ran = progress != Progress::None && !untouched;
        let run = if ran { self.ran(&member, sent, now) } else { Duration::ZERO };
        let wait = now.saturating_duration_since(made).saturating_sub(run);
        state.stats.failed.count(&fault);
        state.stats.run.record(run);
        state.stats.wait.record(wait);
        let worker = self.plan.launcher.name;
        let over = Over { worker, span, outcome: observe::outcome(&fault), wait, run };
        Some(Failed { fault, over, member })
    }

    /// A job that no worker has is over.
    pub(super) fn turn_away(&self, job: &dyn Job, fault: Fault) {
        let (span, made) = {
            let mut noted = job.card().note();
            (std::mem::replace(&mut noted.span, Span::none()), noted.made)
        };
        observe::turned_away(self.plan.launcher.name, &span, &fault, made.elapsed());
        job.refuse(fault);
    }

    /// The job's caller does not want it any more.
    pub(super) fn cancel(&self, job: Arc<dyn Job>) {
        if self.check().is_err() {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        let mut noted = job.card().note();
        match (&noted.place, noted.key) {
            (Place::Queued, Some(key)) if state.scheduler.cancel(key).is_some() => {
                noted.place = Place::Over;
                noted.frame = None;
                drop(noted);
                state.stats.failed.cancelled += 1;
                self.carry_out(state, now);
                self.turn_away(&*job, Fault::Cancelled);
            }
            (Place::Sent(member, ticket), _) => {
                let (conn, ticket) = (member.conn().map(Arc::clone), *ticket);
                noted.cancelled = true;
                drop(noted);
                drop(state);
                if let Some(conn) = conn {
                    conn.cancel(ticket, Fault::Cancelled);
                }
            }
            (Place::Over, _) => {}
            // Whoever gives it to a worker looks at this.
            _ => noted.cancelled = true,
        }
    }
}

/// The worker that is killed with this job, if it is ended now.
fn doomed(job: &Arc<dyn Job>) -> Option<WorkerId> {
    let place = job.card().note().place.clone();
    let Place::Sent(member, ticket) = place else { return None };
    member.conn()?.dies_with(ticket).then(|| member.id())?
}
