//! How a pool begins anew, and how it ends.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

use super::core::Core;
use super::member::Member;
use super::state::State;
use crate::error::{Ended, Error, Fault, Kind};
use crate::hub::Timed;
use crate::lead::Seat;
use crate::process::Process;
use crate::rpc::pooled::{Conn, Inside, quietly};
use crate::sys::turns::{self, Turn};

impl Core {
    /// Has the hub call at that time.
    pub(super) fn arm(&self, time: Instant) {
        let armed = self.home.hub().map(|hub| hub.at(time, self.me.clone()));
        if let Err(error) = armed {
            // Without that thread nothing grows or shrinks by itself; the next call tries
            // again.
            self.lock().armed = None;
            self.report(error);
        }
    }

    /// No more jobs are taken; those there are will be done, and then it ends.
    pub(super) fn drain(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        if !state.over {
            state.kept = self.me.upgrade();
        }
        state.scheduler.drain(now);
        self.carry_out(state, now);
    }

    /// Ends it, whatever it is doing.
    pub(super) fn kill(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        if !state.over {
            state.kept = self.me.upgrade();
        }
        state.killed = true;
        let queued = state.scheduler.stop(now);
        state.stats.failed.refused += queued.len() as u64;
        let unmade = std::mem::take(&mut state.unmade);
        let conns: Vec<Arc<Conn>> =
            state.everybody().filter_map(|m| m.conn().map(Arc::clone)).collect();
        drop(state);
        for conn in conns {
            conn.end_now("its pool was killed");
        }
        for (_, job) in queued {
            self.turn_away(&*job, Fault::PoolEnded);
        }
        for member in unmade {
            self.not_made(&member, Fault::PoolEnded.into(), now);
        }
        self.carry_out(self.lock(), now);
    }

    /// New workers come from this template.
    pub(super) fn reload(&self, template: Process) {
        let now = Instant::now();
        let mut state = self.lock();
        state.template = Arc::new(template);
        state.failure = None;
        state.failures = 0;
        // Spares are of the old one.
        let spares = std::mem::take(&mut state.spares);
        for _ in &spares {
            state.scheduler.spare_lost(now);
        }
        state.scheduler.reload(now);
        drop(state);
        for spare in spares {
            spare.finish();
        }
        self.carry_out(self.lock(), now);
    }

    /// The template has died: it is made again, by a thread of its own, as its setup
    /// functions may take long. Whether the worker, or spare, will be made then.
    pub(super) fn rebuild_for(
        &self,
        member: &Arc<Member>,
        dead: &Arc<Process>,
        now: Instant,
    ) -> bool {
        if !member.may_try_again() {
            return false;
        }
        let mut state = self.lock();
        if state.killed {
            return false;
        }
        if !Arc::ptr_eq(&state.template, dead) {
            // That has been done since, for another.
            drop(state);
            self.make_again(member, now);
            return true;
        }
        state.unmade.push(Arc::clone(member));
        if std::mem::replace(&mut state.rebuilding, true) {
            return true;
        }
        drop(state);
        let begun = self.begin_rebuild();
        if begun.is_err() {
            let mut state = self.lock();
            state.rebuilding = false;
            state.unmade.retain(|m| !Arc::ptr_eq(m, member));
        }
        begun.is_ok()
    }

    /// Makes the template again, by a thread of its own.
    pub(super) fn begin_rebuild(&self) -> io::Result<()> {
        let core = self.me.clone();
        turns::respect();
        let thread = thread::Builder::new().name("offshoot-template".to_owned());
        thread.spawn(move || Core::rebuild(&core)).map(drop)
    }

    /// While it waits for setup functions, a fork of the program may go on without this thread:
    /// so it keeps nothing then that a daemon would have to let go, but the new template.
    fn rebuild(core: &Weak<Core>) {
        let _turn = Turn::begin();
        let Some(old) = core.upgrade().map(|core| Arc::clone(&core.lock().template)) else {
            return;
        };
        let (again, old) = (old.rebuilt(), Arc::downgrade(&old));
        let made = match again {
            Some(made) => made.and_then(|new| {
                new.settle_telling(|link| {
                    if let Some(core) = core.upgrade() {
                        core.lock().making = Some(Arc::downgrade(link));
                    }
                })
                .map(|()| new)
            }),
            None => Err(Kind::TemplateGone(
                "it was a snapshot, or came by a descriptor, so it cannot be made again",
            )
            .into()),
        };
        if let Some(core) = core.upgrade() {
            core.rebuilt(made.map(|new| (old, new)));
        }
    }

    /// Another template is there, in the place of the old one; or cannot be.
    pub(super) fn rebuilt(&self, made: Result<(Weak<Process>, Process), Error>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.rebuilding = false;
        state.making = None;
        let unmade = std::mem::take(&mut state.unmade);
        let failed = match made {
            Ok((old, new)) => {
                // It may have been reloaded in between.
                if Weak::ptr_eq(&Arc::downgrade(&state.template), &old) {
                    state.template = Arc::new(new);
                    state.stats.templates += 1;
                }
                None
            }
            Err(error) => Some(error),
        };
        drop(state);
        for member in unmade {
            match &failed {
                // None of them takes the others along.
                None => {
                    quietly(|| self.make_again(&member, now));
                }
                Some(error) => {
                    let why = format!("its template could not be made again: {error}");
                    let unmade = Ended {
                        unmade: Some(why.into()),
                        errno: error.raw_os_error(),
                        started: Some(false),
                        ..Ended::default()
                    };
                    self.not_made(&member, Fault::Ended(unmade).into(), now);
                }
            }
        }
        self.carry_out(self.lock(), now);
    }

    fn make_again(&self, member: &Arc<Member>, now: Instant) {
        match member.id() {
            None => self.make_spare(member),
            Some(_) => self.start(member, now),
        }
    }

    /// Tells `on_error`.
    pub(super) fn report(&self, error: Error) {
        let Some(on_error) = &self.plan.on_error else {
            tracing::warn!(target: "offshoot", %error, "a worker of a pool of which nobody handles errors");
            return;
        };
        let _inside = Inside::of_pool(self.me.as_ptr().addr());
        on_error.tell(error);
    }

    /// Nothing is left.
    pub(super) fn is_over(&self) {
        let (on_destroy, spares) = {
            let mut state = self.lock();
            (state.on_destroy.take(), std::mem::take(&mut state.spares))
        };
        // Spares were told nothing, and end with their streams.
        spares.iter().for_each(|spare| spare.finish());
        if let Some(on_destroy) = on_destroy {
            let _inside = Inside::of_pool(self.me.as_ptr().addr());
            quietly(on_destroy);
        }
        // Nobody who waits for the end goes on before that has been told.
        let (seats, wakers, kept) = {
            let mut state = self.lock();
            state.over = true;
            let seats = std::mem::take(&mut state.end_seats);
            (seats, std::mem::take(&mut state.end_wakers), state.kept.take())
        };
        seats.iter().for_each(|s| s.ring());
        for waker in wakers {
            quietly(|| waker.wake());
        }
        // Whoever calls this has a reference of his own.
        drop(kept);
    }

    /// Waits until nothing is left.
    pub(super) fn wait_for_end(&self) -> Result<(), Error> {
        self.check_to_wait()?;
        let seat = Seat::new();
        loop {
            let mut state = self.lock();
            if state.over {
                return Ok(());
            }
            state.end_seats.push(Arc::clone(&seat));
            drop(state);
            seat.sleep(None);
        }
    }
}

impl State {
    pub(super) fn everybody(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter().flatten().chain(&self.spares)
    }
}

impl Timed for Core {
    fn hub_timer(self: Arc<Core>) {
        if !self.mark.is_here() {
            return;
        }
        self.lock().armed = None;
        self.make_spares();
        self.end_hung();
        self.with_scheduler(|scheduler, now| scheduler.tick(now));
    }
}
