//! When a pool gives up, and how it is repaired.

use std::time::Duration;

use super::failing::next_after_failure;
use super::scene::{NOTHING, Scene, ms};
use crate::pool::scheduler::{Refusal, Why};

/// Three starts that fail, with a job waiting.
fn broken() -> Scene {
    let mut pool = Scene::new(|_| ());
    pool.push("a");
    pool.push("b");
    pool.push_with("c", 1);
    pool.gone(0);
    assert_eq!(pool.at(200).tick(), ["start 1", "c to 1"]);
    pool.put_back("c");
    pool.gone(1);
    assert_eq!(pool.at(600).tick(), ["start 2", "c to 2"]);
    assert!(!pool.pool.is_broken());
    pool.put_back("c");
    assert_eq!(pool.gone(2), ["fail c", "fail b"]);
    pool
}

#[test]
fn too_many_failed_starts_in_a_row_break_the_pool() {
    let mut pool = broken();
    assert!(pool.pool.is_broken() && !pool.pool.has_room());
    assert_eq!(pool.refused("d"), Refusal::Broken);
    // What is put back only now is too late as well.
    assert_eq!(pool.put_back("a"), ["fail a"]);
    let next = pool.next_tick().unwrap() as u64;
    assert_eq!(pool.at(next).tick(), NOTHING);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn a_broken_pool_is_repaired_by_a_reload() {
    let mut pool = broken();
    pool.at(700);
    assert_eq!(pool.reload(), NOTHING);
    assert!(!pool.pool.is_broken() && pool.pool.has_room());
    assert_eq!(pool.next_tick(), None);
    assert_eq!(pool.push("a"), ["start 3", "a to 3"]);
    // All failures are forgotten.
    assert_eq!(next_after_failure(&mut pool, 3), 900);
}

#[test]
fn a_repaired_pool_has_its_idle_workers_and_spares_at_once() {
    let mut pool = Scene::new(|rules| {
        rules.idle = 3;
        rules.spares = 1;
    });
    assert_eq!(pool.tick(), ["start 0", "start 1", "start 2", "spare"]);
    pool.pool.spare_made();
    for worker in 0..3 {
        pool.gone(worker);
    }
    assert!(pool.pool.is_broken());
    pool.pool.spare_used(pool.time());
    assert_eq!(pool.at(300).tick(), NOTHING);
    assert_eq!(pool.reload(), ["start 3", "start 4", "start 5", "spare"]);
}

#[test]
fn a_pool_that_breaks_makes_no_spares_even_if_it_was_about_to() {
    let mut pool = Scene::new(|rules| {
        rules.spares = 1;
        rules.restart.intensity = 1;
    });
    pool.push("a");
    pool.pool.spare_made();
    let (now, worker) = (pool.time(), pool.id(0));
    pool.pool.spare_used(now);
    pool.pool.gone(worker, now);
    assert!(pool.pool.is_broken());
    assert_eq!(pool.acts(), NOTHING);
}

#[test]
fn failures_break_nothing_while_a_worker_is_ready() {
    let mut pool = Scene::ready_with(1, |_| ());
    pool.resize(4);
    pool.push("busy");
    pool.push("a");
    assert_eq!(pool.at(100).tick(), ["start 1", "a to 1"]);
    for (worker, next) in [(1, 300), (2, 700), (3, 1500), (4, 2500)] {
        assert_eq!(next_after_failure(&mut pool, worker), next);
    }
    assert!(!pool.pool.is_broken());
    assert_eq!(pool.push("b"), NOTHING);
    // With the only one that works, the pool breaks.
    assert_eq!(pool.gone(0), ["fail b"]);
    assert!(pool.pool.is_broken());
}

#[test]
fn a_pool_breaks_when_the_last_ready_worker_is_stopped_or_retired() {
    let failing = || {
        let mut pool = Scene::ready_with(1, |rules| {
            rules.stop = ms(1000);
            rules.restart.intensity = 1;
        });
        pool.resize(2);
        pool.push("busy");
        pool.push("a");
        pool.at(100).tick();
        pool.gone(1);
        pool.done(0);
        assert!(!pool.pool.is_broken());
        pool
    };
    let mut pool = failing();
    assert_eq!(pool.at(1100).tick(), ["finish 0"]);
    assert!(pool.pool.is_broken() && !pool.pool.has_room());
    let mut pool = failing();
    assert_eq!(pool.retire(0, Why::Asked), ["finish 0"]);
    assert!(pool.pool.is_broken());
}

#[test]
fn failures_long_ago_do_not_count() {
    let mut pool = Scene::new(|rules| rules.restart.period = ms(500));
    pool.push("a");
    assert_eq!(next_after_failure(&mut pool, 0), 200);
    assert_eq!(next_after_failure(&mut pool, 1), 600);
    assert_eq!(next_after_failure(&mut pool, 2), 1400);
    assert!(!pool.pool.is_broken());
}

#[test]
fn one_that_gets_ready_after_all_repairs_the_pool() {
    let mut pool = Scene::new(|rules| rules.idle = 4);
    pool.tick();
    for worker in 0..3 {
        pool.gone(worker);
    }
    assert!(pool.pool.is_broken());
    assert_eq!(pool.ready(3), ["start 4", "start 5", "start 6"]);
    assert!(!pool.pool.is_broken());
}

/// The last worker that was started cannot be made, for now, and its job comes back.
fn short(pool: &mut Scene, worker: usize, job: &'static str) -> Vec<String> {
    assert_eq!(pool.short(worker), NOTHING);
    assert_eq!(pool.put_back(job), NOTHING);
    pool.gone(worker)
}

fn after_the_pause(pool: &mut Scene) -> Vec<String> {
    let next = pool.next_tick().expect("a pause");
    pool.at(next as u64).tick()
}

#[test]
fn what_may_pass_fails_the_jobs_that_wait_and_breaks_nothing() {
    let mut pool = Scene::new(|rules| rules.start = Duration::MAX);
    pool.push("a");
    pool.push("b");
    for worker in 0..2 {
        assert_eq!(short(&mut pool, worker, "a"), NOTHING);
        let next = worker + 1;
        assert_eq!(after_the_pause(&mut pool), [format!("start {next}"), format!("a to {next}")]);
    }
    assert_eq!(short(&mut pool, 2, "a"), ["fail a", "fail b"]);
    assert!(!pool.pool.is_broken());
    // The next is told after one more attempt; one that is made is as good as ever.
    assert_eq!(pool.push("c"), NOTHING);
    assert_eq!(after_the_pause(&mut pool), ["start 3", "c to 3"]);
    assert_eq!(short(&mut pool, 3, "c"), ["fail c"]);
    assert_eq!(pool.push("d"), NOTHING);
    assert_eq!(after_the_pause(&mut pool), ["start 4", "d to 4"]);
    pool.ready(4);
    pool.done(4);
    assert_eq!(pool.gone(4), NOTHING);
    assert_eq!(pool.push("e"), ["start 5", "e to 5"]);
    assert_eq!(short(&mut pool, 5, "e"), NOTHING);
    assert_eq!(after_the_pause(&mut pool), ["start 6", "e to 6"]);
}

#[test]
fn what_may_pass_fails_no_job_while_a_worker_is_there() {
    let mut pool = Scene::ready_with(1, |rules| rules.restart.intensity = 1);
    pool.resize(2);
    pool.push("a");
    pool.push("b");
    assert_eq!(pool.at(100).tick(), ["start 1", "b to 1"]);
    assert_eq!(short(&mut pool, 1, "b"), NOTHING);
    assert_eq!(pool.pool.queued(), 1);
    assert_eq!(pool.done(0), ["b to 0"]);
}

#[test]
fn without_a_pause_what_may_pass_is_not_tried_again_at_once_either() {
    let mut pool = Scene::new(|rules| {
        (rules.restart.backoff, rules.restart.backoff_max) = (ms(0), ms(0));
    });
    pool.push("a");
    for worker in 0..2 {
        assert_eq!(short(&mut pool, worker, "a"), NOTHING);
        assert_eq!(pool.next_tick(), Some(worker as u128 + 1));
        let next = worker + 1;
        assert_eq!(after_the_pause(&mut pool), [format!("start {next}"), format!("a to {next}")]);
    }
    assert_eq!(short(&mut pool, 2, "a"), ["fail a"]);
}
