//! What deciding costs, for the benchmark.

use std::time::{Duration, Instant};

use super::dice::Dice;
use super::{Action, Restart, Rules, Scheduler, WorkerId};

/// How long it takes to hand out `jobs` jobs, and to take note that they are over, with
/// so many workers of which every other one is busy. The busy ones end in random order,
/// as processes do.
#[doc(hidden)]
pub fn schedule_cost(workers: usize, jobs: u64) -> Duration {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(rules(workers), 1);
    let mut actions = Vec::new();
    scheduler.tick(now);
    scheduler.take_actions(&mut actions);
    for action in actions.drain(..) {
        if let Action::Start(worker) = action {
            scheduler.ready(worker, now);
        }
    }
    let mut busy: Vec<WorkerId> = Vec::with_capacity(workers / 2);
    let push = |scheduler: &mut Scheduler<u64>, actions: &mut Vec<_>, job| {
        let _ = scheduler.push(job, 0, now);
        scheduler.take_actions(actions);
        match actions.pop() {
            Some(Action::Send { worker, .. }) => worker,
            _ => unreachable!("half of the workers are idle"),
        }
    };
    for job in 0..(workers as u64 / 2).max(1) {
        busy.push(push(&mut scheduler, &mut actions, job));
    }
    let mut dice = Dice::new(2);
    let started = Instant::now();
    for job in 0..jobs {
        let over = dice.up_to(busy.len() as u64 - 1) as usize;
        scheduler.done(busy[over], now);
        busy[over] = push(&mut scheduler, &mut actions, job);
    }
    started.elapsed()
}

fn rules(workers: usize) -> Rules {
    Rules {
        max: workers,
        idle: workers,
        load: 2,
        start: Duration::from_millis(100),
        stop: Duration::from_secs(10),
        queue_limit: usize::MAX,
        max_jobs: None,
        jitter: 0.0,
        max_age: None,
        max_recycling: 1,
        spares: 0,
        restart: Restart {
            intensity: 5,
            period: Duration::from_secs(10),
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
        },
    }
}
