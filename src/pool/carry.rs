//! Carries out what the scheduler has decided.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::core::Core;
use super::errand::{Job, Place};
use super::member::Member;
use super::observe;
use super::outcome::Progress;
use super::scheduler::{Action, WorkerId};
use super::state::State;
use crate::error::{Ended, Fault};
use crate::room::{LOOKS_WITHIN, Waiter};
use crate::rpc::pooled::{Style, Time};

/// Something to be done without the lock.
pub(super) enum Step {
    Start(Arc<Member>),
    Begin(Arc<Member>),
    Send(Arc<Member>, Arc<dyn Job>),
    Finish(Arc<Member>),
    Fail(Arc<dyn Job>),
    Over,
}

/// How long after a spare was used it is replaced.
const SPARES_AFTER: Duration = Duration::from_micros(500);

impl Core {
    /// Does what has been decided, until there is nothing more.
    pub(super) fn carry_out<'a>(&'a self, mut state: MutexGuard<'a, State>, now: Instant) {
        loop {
            let mut actions = std::mem::take(&mut state.actions);
            state.scheduler.take_actions(&mut actions);
            let mut steps = std::mem::take(&mut state.steps);
            for action in actions.drain(..) {
                steps.extend(note(&mut state, action));
            }
            state.actions = actions;
            if steps.is_empty() {
                state.steps = steps;
                break;
            }
            drop(state);
            // A spare that gets a job is told what it is with that, in one message.
            steps.sort_by_key(|step| matches!(step, Step::Begin(_)));
            for step in steps.drain(..) {
                self.step(step, now);
            }
            state = self.lock();
            state.steps = steps;
        }
        let levels = state.levels(now);
        let next = state.scheduler.next_tick();
        let hung = state.look_at_hung(now);
        let mut next = next.into_iter().chain(state.levels_due()).chain(hung).min();
        if state.owed_spares > 0 {
            // Not by whoever makes a call, and not while that is on its way.
            let then = now + SPARES_AFTER;
            next = Some(next.map_or(then, |next| next.min(then)));
        }
        let told = state.tell_of_room();
        if !told.is_empty() && !state.room.is_empty() {
            let then = now + LOOKS_WITHIN;
            next = Some(next.map_or(then, |next| next.min(then)));
        }
        let arm = next.filter(|next| state.armed.is_none_or(|armed| *next < armed));
        if arm.is_some() {
            state.armed = arm;
        }
        drop(state);
        if let Some((before, now)) = levels {
            observe::levels(self.plan.launcher.name, &before, &now);
        }
        if let Some(time) = arm {
            self.arm(time);
        }
        told.into_iter().for_each(Waiter::tell);
    }

    fn step(&self, step: Step, now: Instant) {
        match step {
            Step::Start(member) => self.start(&member, now),
            Step::Begin(member) => {
                if let Some(conn) = member.conn() {
                    conn.begin();
                    conn.answers_soon();
                }
            }
            Step::Send(member, job) => self.send(&member, job, now),
            Step::Finish(member) => member.finish(),
            Step::Fail(job) => {
                let fault = {
                    let mut state = self.lock();
                    let fault = state.fault_of_failed();
                    state.stats.failed.count(&fault);
                    fault
                };
                self.turn_away(&*job, fault);
            }
            Step::Over => self.is_over(),
        }
    }

    pub(super) fn send(&self, member: &Arc<Member>, job: Arc<dyn Job>, now: Instant) {
        let card = job.card();
        let Some(conn) = member.conn() else { return };
        let mut noted = card.note();
        if !matches!(&noted.place, Place::Sending(m) if Arc::ptr_eq(m, member)) {
            return;
        }
        if noted.cancelled {
            drop(noted);
            return self.not_sent(&job, Fault::Cancelled);
        }
        noted.sent = now;
        let mut frame = match &mut noted.frame {
            Some(frame) if !frame.has_fds() => Some(frame.again()),
            frame => frame.take(),
        };
        drop(noted);
        let time = card.time.or(self.plan.time);
        let time = match (time, self.plan.launcher.style) {
            (None, _) => Time::Any,
            (Some(time), Style::Sync) => Time::Runs(time),
            (Some(time), Style::Async) => {
                // What was done since `now` may have taken long.
                Instant::now().checked_add(time).map_or(Time::Any, Time::Until)
            }
        };
        let sent = conn.place(&mut frame, time, || Arc::clone(&job).as_complete());
        let mut noted = card.note();
        match sent {
            Ok(Some(ticket)) => {
                // Unless it has been answered in between.
                if matches!(&noted.place, Place::Sending(m) if Arc::ptr_eq(m, member)) {
                    noted.place = Place::Sent(Arc::clone(member), ticket);
                    let cancelled = noted.cancelled;
                    drop(noted);
                    let attended =
                        card.attended.load(Ordering::Acquire) || self.attendance.seems_attended();
                    if !attended {
                        conn.arm();
                    }
                    if cancelled {
                        conn.cancel(ticket, Fault::Cancelled);
                    }
                }
            }
            Ok(None) => unreachable!("a pool's connections always have room"),
            // It has ended; this one it never had.
            Err(error) => {
                if noted.frame.is_none() {
                    noted.frame = frame;
                }
                drop(noted);
                let fault = match error.into_fault() {
                    Some(fault @ Fault::Init(_)) => fault,
                    Some(Fault::Ended(ended)) => {
                        Fault::Ended(Ended { started: Some(false), ..ended })
                    }
                    _ => Fault::Ended(Ended { started: Some(false), ..Ended::default() }),
                };
                self.not_sent(&job, fault);
            }
        }
    }

    fn not_sent(&self, job: &Arc<dyn Job>, fault: Fault) {
        let now = Instant::now();
        let told = self.note_failed(&mut self.lock(), job, fault, Progress::None, now);
        match told {
            Some(failed) => job.refuse(failed.tell()),
            None => job.moved(),
        }
    }
}

/// Notes an action, under the lock; what is left to do.
fn note(state: &mut State, action: Action<Arc<dyn Job>>) -> Option<Step> {
    match action {
        Action::Start(id) => {
            let spare = (!state.spares.is_empty()).then(|| state.spares.swap_remove(0));
            let (member, step): (_, fn(Arc<Member>) -> Step) = match spare {
                Some(spare) => {
                    spare.becomes(id);
                    state.stats.started += 1;
                    state.scheduler.spare_used(Instant::now());
                    (spare, Step::Begin)
                }
                None => (Member::new(Some(id)), Step::Start),
            };
            if state.members.len() <= id.index() {
                state.members.resize(id.index() + 1, None);
            }
            state.members[id.index()] = Some(Arc::clone(&member));
            Some(step(member))
        }
        Action::Spare => {
            state.owed_spares += 1;
            None
        }
        Action::Send { worker, job, .. } => match state.member(worker).map(Arc::clone) {
            Some(member) => state.send_to(member, worker, job),
            // Nothing is decided about one that is gone; but nobody may wait for ever.
            None => Some(Step::Fail(job)),
        },
        Action::Finish(id) => state.member(id).map(|member| Step::Finish(Arc::clone(member))),
        Action::Fail { job, .. } => Some(Step::Fail(job)),
        Action::Drained => Some(Step::Over),
    }
}

impl State {
    /// A job is to go to a worker.
    pub(super) fn send_to(
        &mut self,
        member: Arc<Member>,
        worker: WorkerId,
        job: Arc<dyn Job>,
    ) -> Option<Step> {
        self.running += 1;
        job.card().note().place = Place::Sending(Arc::clone(&member));
        if member.conn().is_some() {
            return Some(Step::Send(member, job));
        }
        match self.backlogs.iter_mut().find(|(id, _)| *id == worker) {
            Some((_, backlog)) => backlog.push(job),
            None => self.backlogs.push((worker, vec![job])),
        }
        None
    }
}
