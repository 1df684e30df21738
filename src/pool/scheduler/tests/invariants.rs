//! What must hold in the world of `world.rs`, after every event and in the end.

use std::time::Duration;

use super::world::{World, id_of};
use crate::pool::scheduler::{Stage, State};

impl World {
    /// What must hold after every event.
    pub(super) fn check(&self) {
        let pool = &self.pool;
        let rules = pool.rules();
        let stopped = matches!(pool.stage, Stage::Stopped | Stage::Over);
        let (mut takers, mut idle, mut away, mut full) = (0, 0, 0, true);
        for (id, worker) in &self.workers {
            let state = pool.state_of(id_of(*id)).expect("known to both");
            assert_eq!(pool.roster.get(id.0).load as usize, worker.load());
            let taking = matches!(state, State::Starting | State::Idle | State::Busy);
            assert!(!(taking && (worker.finished || worker.excused)), "{state:?}");
            assert!(state != State::Retiring || worker.load() > 0 || worker.finished);
            takers += usize::from(taking);
            idle += usize::from(state == State::Idle);
            away += usize::from(state == State::Retiring && !worker.excused);
            full &= !taking || worker.load() >= rules.load;
        }
        assert_eq!(pool.roster.live(), self.workers.len());
        assert_eq!(pool.roster.takers(), takers);
        assert_eq!(pool.takers().len(), if stopped { 0 } else { takers });
        assert_eq!(pool.queued(), self.queue.len());
        assert_eq!(pool.spares.on_their_way(), self.spares_on_their_way);
        assert!(pool.next_tick().is_none_or(|at| Some(at) > pool.clock), "due, and not done");
        if stopped {
            return;
        }
        assert!(pool.queued() == 0 || full, "queued, though a worker has room");
        assert!(takers <= rules.max || pool.roster.away() >= rules.max_recycling);
        let may_grow = takers < rules.max && pool.clock.is_some();
        assert!(pool.queued() == 0 || !may_grow || pool.next_tick().is_some(), "stuck");
        if pool.stage == Stage::Open && rules.stop.is_zero() {
            assert!(idle <= rules.idle);
        }
        // Those that are stopped because they are idle, or at the end, cannot be told apart.
        if pool.stage == Stage::Open && rules.stop > Duration::from_secs(1_000_000) {
            assert!(away <= rules.max_recycling, "too many are away");
        }
    }

    /// Everybody answers everything, until there is nothing to answer or to wait for.
    pub(super) fn rest(&mut self) {
        for _ in 0..10_000 {
            let next = self.workers.iter().find(|(id, worker)| {
                worker.finished
                    || worker.load() > 0
                    || !worker.ready
                    || self.pool.state_of(id_of(**id)) == Some(State::Down)
                    || self.pool.stage == Stage::Stopped
            });
            if let Some((id, worker)) = next {
                let id = id_of(*id);
                if !worker.ready && !worker.finished {
                    self.ready(id);
                } else if worker.load() > 0 {
                    self.done(id);
                } else {
                    self.gone(id);
                }
            } else if self.spares_on_their_way > 0 {
                self.spares_on_their_way -= 1;
                self.pool.spare_made();
                self.carry_out();
            } else if !self.tick_next() {
                return;
            }
        }
        panic!("it never comes to rest");
    }
}
