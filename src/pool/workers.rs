//! How workers are made, and what becomes of them.

use std::sync::Arc;
use std::time::Instant;

use tracing::dispatcher;

use super::core::Core;
use super::errand::Job;
use super::member::{Member, Overseen};
use super::outcome::Progress;
use super::state::{Failure, State};
use super::tail::Tail;
use crate::error::{Ended, Error, Fault};
use crate::process::Process;
use crate::rpc::pooled::Set;

impl Core {
    /// Makes the spares that are to be made.
    pub(super) fn make_spares(&self) {
        let owed = std::mem::take(&mut self.lock().owed_spares);
        for _ in 0..owed {
            self.make_spare(&Member::new(None));
        }
    }

    pub(super) fn make_spare(&self, member: &Arc<Member>) {
        let template = Arc::clone(&self.lock().template);
        let made = self.make(member, &template);
        let now = Instant::now();
        let lost = made.as_ref().is_err_and(Error::is_disconnected);
        if lost && self.rebuild_for(member, &template, now) {
            return;
        }
        let mut state = self.lock();
        if made.is_err() || member.is_gone() {
            state.scheduler.spare_lost(now);
            return;
        }
        state.scheduler.spare_made();
        if Arc::ptr_eq(&state.template, &template) && !state.killed {
            state.spares.push(Arc::clone(member));
        } else {
            // There is another template since, or no use for any.
            state.scheduler.spare_used(now);
            drop(state);
            member.finish();
        }
    }

    /// Makes a worker's process.
    fn make(&self, member: &Arc<Member>, template: &Process) -> Result<(), Error> {
        let mut process = (self.plan.prepare)(template.fork()?);
        let mut tail = None;
        if self.plan.capture_stderr {
            let (new, end) = Tail::new(self.home)?;
            process = process.stderr(end);
            tail = Some(new);
        }
        let mut set = Set::default();
        if let Some(on_event) = &self.plan.on_event {
            set.event = Some(on_event(Arc::downgrade(member)));
        }
        if self.plan.on_error.is_some() {
            let core = self.me.clone();
            set.error = Some(Box::new(move |error| {
                if let Some(core) = core.upgrade() {
                    core.report(error);
                }
            }));
        }
        let overseen = Overseen { core: self.me.clone(), member: Arc::downgrade(member) };
        let launch = || self.plan.launcher.launch(process, set, Some(Box::new(overseen)));
        let conn = match &self.plan.log_to {
            Some(subscriber) => dispatcher::with_default(subscriber, launch),
            None => launch(),
        }?;
        // Not before: where there is no process, one may be made for this member again.
        if let Some(tail) = tail {
            member.listens_to(tail);
        }
        member.connected(Arc::clone(&conn));
        // From now on it may be told that it is gone.
        conn.watch().inspect_err(|_| conn.end_now("there is no thread to look after it"))
    }

    pub(super) fn start(&self, member: &Arc<Member>, now: Instant) {
        let template = Arc::clone(&self.lock().template);
        match self.make(member, &template) {
            Ok(()) => self.started(member),
            Err(error) if error.is_disconnected() && self.rebuild_for(member, &template, now) => {}
            Err(error) => self.not_made(member, error, now),
        }
    }

    /// Its process is there: what has been waiting for that can be sent.
    fn started(&self, member: &Arc<Member>) {
        let (backlog, gone) = {
            let mut state = self.lock();
            state.stats.started += 1;
            if state.killed {
                drop(state);
                // Whoever killed the pool may not have seen it yet. Its jobs are turned away
                // when it is gone.
                if let Some(conn) = member.conn() {
                    conn.end_now("its pool was killed");
                }
                return;
            }
            let id = member.id().expect("it is no spare");
            (take_backlog(&mut state, member), state.member(id).is_none())
        };
        for job in backlog {
            self.send(member, job, Instant::now());
        }
        if let Some(conn) = member.conn().filter(|_| !gone) {
            conn.begin();
        }
        if member.is_to_finish() {
            member.finish();
        }
    }

    /// A worker's init function has returned.
    pub(super) fn is_ready(&self, member: &Arc<Member>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.look_on();
        state.failures = 0;
        if let Some(id) = member.id() {
            state.scheduler.ready(id, now);
        }
        self.carry_out(state, now);
    }

    pub(super) fn not_made(&self, member: &Arc<Member>, error: Error, now: Instant) {
        if member.id().is_none() {
            // Without a spare nobody misses anything.
            return self.lock().scheduler.spare_lost(now);
        }
        self.forget(member, Some(Failure::of_error(&error)), now);
        self.report(error);
    }

    /// A worker's process has ended.
    pub(super) fn gone(&self, member: &Arc<Member>, why: Option<Error>) {
        let now = Instant::now();
        let peak = member.conn().and_then(|conn| conn.child.peak_memory()).unwrap_or(0);
        {
            let mut state = self.lock();
            state.stats.peak_memory = state.stats.peak_memory.max(peak);
            if member.id().is_none() {
                // If it is not known yet, whoever makes it finds this.
                member.is_gone_now();
                if let Some(at) = state.spares.iter().position(|s| Arc::ptr_eq(s, member)) {
                    state.spares.swap_remove(at);
                    state.scheduler.spare_lost(now);
                }
                return self.carry_out(state, now);
            }
        }
        self.forget(member, why.as_ref().map(Failure::of_error), now);
        self.carry_out(self.lock(), now);
        if let Some(error) = why {
            self.report(error);
        }
    }

    fn forget(&self, member: &Arc<Member>, failure: Option<Failure>, now: Instant) {
        let Some(id) = member.id() else { return };
        let mut state = self.lock();
        if state.member(id).is_none() {
            return;
        }
        state.look_on();
        state.members[id.index()] = None;
        state.forget_hung(member);
        let mut refused = Vec::new();
        let failed = failure.is_some();
        let errno = failure.as_ref().and_then(|failure| failure.errno);
        let may_pass = failure.as_ref().is_some_and(Failure::may_pass);
        if let Some(failure) = failure {
            state.note_failure(member, || failure);
        }
        for job in take_backlog(&mut state, member) {
            let ended = Ended { started: Some(false), errno, ..Ended::default() };
            let untouched = Fault::Ended(ended);
            if let Some(failed) = self.note_failed(&mut state, &job, untouched, Progress::None, now)
            {
                refused.push((job, failed));
            }
        }
        if may_pass {
            state.scheduler.short(id, now);
        }
        state.scheduler.gone(id, now);
        match (failed, member.is_ready()) {
            (true, true) => state.stats.died += 1,
            (true, false) => {}
            (false, _) => state.stats.ended += 1,
        }
        drop(state);
        for (job, failed) in refused {
            job.refuse(failed.tell());
        }
    }
}

fn take_backlog(state: &mut State, member: &Member) -> Vec<Arc<dyn Job>> {
    let at = state.backlogs.iter().position(|(id, _)| Some(*id) == member.id());
    at.map(|at| state.backlogs.swap_remove(at).1).unwrap_or_default()
}

impl State {
    /// A worker has died, or could not be made. This counts, once, if it never was ready.
    pub(super) fn note_failure(&mut self, member: &Member, failure: impl FnOnce() -> Failure) {
        if !member.is_ready() && member.is_to_be_blamed() {
            self.failure = Some(failure());
            self.failures += 1;
            self.stats.failed_starts += 1;
        }
    }
}

impl Failure {
    fn of_error(error: &Error) -> Failure {
        error.fault().map_or_else(
            || Failure {
                why: error.to_string().into(),
                init: error.is_init(),
                errno: error.raw_os_error(),
            },
            Failure::of,
        )
    }

    pub(super) fn of(fault: &Fault) -> Failure {
        let why = match fault {
            // Not which call was lost with it.
            Fault::Ended(ended) => Ended { started: None, ..ended.clone() }.to_string(),
            fault => fault.to_string(),
        };
        let init = matches!(fault, Fault::Init(_));
        Failure { why: why.into(), init, errno: fault.errno() }
    }
}
