//! When workers are replaced.

use std::collections::HashSet;

use super::scene::{NOTHING, Scene};
use crate::pool::scheduler::{State, Why};

#[test]
fn after_so_many_jobs_a_worker_takes_no_more() {
    let mut pool = Scene::ready_with(1, |rules| rules.load = 2);
    pool.change(|rules| rules.max_jobs = Some(3));
    // The limit holds for those that are started from now on.
    pool.push("a");
    pool.push("b");
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.push("c"), ["start 1", "c to 1"]);
    pool.ready(1);
    pool.push("d");
    pool.push("f");
    assert_eq!(pool.done(1), ["f to 1"]);
    assert_eq!(pool.pool.state_of(pool.id(1)), Some(State::Retiring));
    // Replaced when it is wanted, ended when its jobs are over.
    assert_eq!(pool.push("g"), ["start 2", "g to 2"]);
    assert_eq!(pool.done(1), NOTHING);
    assert_eq!(pool.done(1), ["finish 1"]);
    assert_eq!(pool.gone(1), NOTHING);
}

#[test]
fn a_broadcast_counts_as_a_job() {
    let mut pool = Scene::new(|rules| rules.max_jobs = Some(2));
    pool.push("a");
    assert!(pool.pool.add_load(pool.id(0)));
    assert_eq!(pool.pool.state_of(pool.id(0)), Some(State::Retiring));
    pool.ready(0);
    assert_eq!(pool.done(0), NOTHING);
    assert_eq!(pool.done(0), ["finish 0"]);
}

/// How many jobs each of so many workers took, one worker at a time.
fn jobs_taken(max_jobs: u64, jitter: f64, workers: usize) -> Vec<u64> {
    let mut pool = Scene::new(|rules| {
        rules.max_jobs = Some(max_jobs);
        rules.jitter = jitter;
    });
    let jobs_of = |worker| {
        let mut taken = 0;
        loop {
            pool.push("job");
            pool.ready(worker);
            taken += 1;
            if !pool.done(worker).is_empty() {
                pool.gone(worker);
                return taken;
            }
        }
    };
    (0..workers).map(jobs_of).collect()
}

#[test]
fn how_many_jobs_is_drawn_for_each_worker() {
    assert_eq!(jobs_taken(7, 0.0, 4), [7; 4]);
    let taken = jobs_taken(10, 0.5, 300);
    let drawn: HashSet<_> = taken.into_iter().collect();
    assert_eq!(drawn, (5..=10).collect());
    // Never none at all, and what makes no sense is none or all.
    let taken = jobs_taken(3, 1.0, 100);
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), (1..=3).collect());
    assert_eq!(jobs_taken(3, 9.0, 100).into_iter().min(), Some(1));
    assert_eq!(jobs_taken(3, -1.0, 10), [3; 10]);
    assert_eq!(jobs_taken(3, f64::NAN, 10), [3; 10]);
    assert_eq!(jobs_taken(0, 0.0, 2), [1; 2]);
}

#[test]
fn one_that_asks_to_be_retired_takes_no_more_jobs_at_once() {
    let mut pool = Scene::ready_with(3, |rules| rules.load = 2);
    pool.push("a");
    assert_eq!(pool.retire(2, Why::Asked), NOTHING);
    assert_eq!(pool.retire(2, Why::Asked), NOTHING);
    assert_eq!(pool.retire(1, Why::Asked), ["finish 1"]);
    assert_eq!(pool.push("b"), ["b to 0"]);
    assert_eq!(pool.done(2), ["finish 2"]);
    assert_eq!(pool.retire(2, Why::Asked), NOTHING);
    assert_eq!(pool.pool.counts().retiring, 2);
}

#[test]
fn others_are_retired_in_turn_and_go_on_until_then() {
    let mut pool = Scene::ready_with(3, |rules| rules.max_recycling = 1);
    pool.push("a");
    assert_eq!(pool.retire(2, Why::Memory), NOTHING);
    assert_eq!(pool.retire(0, Why::Memory), NOTHING);
    assert_eq!(pool.retire(0, Why::Memory), NOTHING);
    assert_eq!(pool.retire(1, Why::Memory), NOTHING);
    assert_eq!(pool.pool.counts().retiring, 1);
    assert_eq!(pool.push("b"), ["b to 1"]);
    assert_eq!(pool.push("c"), ["c to 0"]);
    assert_eq!(pool.done(1), NOTHING);
    assert_eq!(pool.done(2), ["finish 2"]);
    // The oldest wish, though another one could end sooner.
    assert_eq!(pool.gone(2), NOTHING);
    assert_eq!(pool.pool.state_of(pool.id(0)), Some(State::Retiring));
    assert_eq!(pool.done(0), ["finish 0"]);
    assert_eq!(pool.gone(0), ["finish 1"]);
    assert_eq!(pool.gone(1), NOTHING);
}

#[test]
fn one_that_dies_is_away_too() {
    let mut pool = Scene::ready_with(2, |_| ());
    pool.down(0);
    assert_eq!(pool.retire(1, Why::Memory), NOTHING);
    assert_eq!(pool.gone(0), ["finish 1"]);
}

#[test]
fn a_reload_replaces_all_that_are_there_one_after_the_other() {
    let mut pool = Scene::ready_with(3, |rules| rules.idle = 3);
    assert_eq!(pool.reload(), ["finish 0", "start 3"]);
    // When the one is ready, and the other is gone.
    assert_eq!(pool.ready(3), NOTHING);
    assert_eq!(pool.push("a"), ["a to 3"]);
    pool.done(3);
    assert_eq!(pool.gone(0), ["finish 1", "start 4"]);
    assert_eq!(pool.gone(1), NOTHING);
    assert_eq!(pool.ready(4), ["finish 2", "start 5"]);
    pool.ready(5);
    assert_eq!(pool.gone(2), NOTHING);
    assert_eq!(pool.takers(), [3, 4, 5]);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn a_reload_replaces_several_at_once_if_so_many_may_be_away() {
    let mut pool = Scene::ready_with(4, |rules| {
        rules.idle = 4;
        rules.max_recycling = 3;
    });
    let acts = pool.reload();
    assert_eq!(acts, ["finish 0", "start 4", "finish 1", "start 5", "finish 2", "start 6"]);
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.ready(4), ["finish 3", "start 7"]);
    assert_eq!(pool.ready(5), NOTHING);
    // A second one while the first is going on: each once, and first who is not ready.
    assert_eq!(pool.reload(), NOTHING);
    assert_eq!(pool.gone(2), ["finish 6", "start 8"]);
}

#[test]
fn a_reload_goes_no_further_than_those_who_replace_the_first() {
    let mut pool = Scene::ready_with(4, |rules| {
        rules.idle = 4;
        rules.restart.intensity = 100;
    });
    assert_eq!(pool.reload(), ["finish 0", "start 4"]);
    pool.gone(0);
    for worker in 4..9 {
        assert_eq!(pool.gone(worker), NOTHING);
        let next = pool.next_tick().expect("a pause") as u64;
        assert_eq!(pool.at(next).tick(), [format!("start {}", worker + 1)]);
    }
    assert_eq!(pool.pool.counts().idle, 3);
    // Other wishes have their turn, and their place.
    assert_eq!(pool.ready(9), ["finish 1", "start 10"]);
    pool.retire(3, Why::Memory);
    assert_eq!(pool.gone(1), NOTHING);
    // It hangs; the next reload does away with it first.
    assert_eq!(pool.reload(), ["finish 10", "start 11"]);
}

#[test]
fn a_reload_waits_for_nobody_where_nobody_is_started() {
    let mut pool = Scene::ready_with(3, |_| ());
    assert_eq!(pool.reload(), ["finish 0"]);
    assert_eq!(pool.gone(0), ["finish 1"]);
    assert_eq!(pool.gone(1), ["finish 2"]);
}

#[test]
fn those_who_leave_while_there_are_too_many_are_not_missed_later() {
    let mut pool = Scene::ready_with(3, |_| ());
    for job in ["a", "b", "c", "d", "e", "f"] {
        pool.push(job);
    }
    assert_eq!(pool.resize(1), NOTHING);
    assert_eq!(pool.retire(0, Why::Asked), NOTHING);
    assert_eq!(pool.takers(), [1]);
    assert_eq!(pool.resize(2), NOTHING);
    assert_eq!(pool.next_tick(), Some(100));
}

#[test]
fn a_lower_maximum_retires_those_that_are_missed_least() {
    let mut pool = Scene::ready_with(4, |rules| rules.max_recycling = 2);
    pool.push("a");
    pool.push("b");
    assert_eq!(pool.resize(1), ["finish 0", "finish 1"]);
    assert_eq!(pool.gone(1), NOTHING);
    // Of the two that are busy, the one that was used less recently.
    assert_eq!(pool.pool.state_of(pool.id(3)), Some(State::Retiring));
    assert_eq!(pool.push("c"), NOTHING);
    assert_eq!(pool.done(2), ["c to 2"]);
    assert_eq!(pool.done(3), ["finish 3"]);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn a_maximum_that_is_raised_again_keeps_those_whose_turn_has_not_come() {
    let mut pool = Scene::ready_with(4, |_| ());
    assert_eq!(pool.resize(1), ["finish 0"]);
    assert_eq!(pool.takers(), [1, 2, 3]);
    assert_eq!(pool.resize(3), NOTHING);
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.takers(), [1, 2, 3]);
}

#[test]
fn a_worker_that_is_still_starting_can_be_recycled() {
    let mut pool = Scene::new(|rules| rules.idle = 1);
    pool.tick();
    assert_eq!(pool.reload(), ["finish 0", "start 1"]);
    // It was told to end, so it has not failed.
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn a_limit_of_none_recycles_one_at_a_time() {
    let mut pool = Scene::ready_with(2, |rules| rules.max_recycling = 0);
    assert_eq!(pool.reload(), ["finish 0"]);
    assert_eq!(pool.gone(0), ["finish 1"]);
}
