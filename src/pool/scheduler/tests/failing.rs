//! Starts that fail, workers that die, and messages about those that are gone.

use std::time::Duration;

use super::scene::{NOTHING, Scene};
use crate::pool::scheduler::{State, Why};

/// Lets the last worker that was started fail, and says when the next is started.
pub(super) fn next_after_failure(pool: &mut Scene, worker: usize) -> u128 {
    pool.down(worker);
    pool.put_back("a");
    pool.gone(worker);
    let next = pool.next_tick().expect("a pause");
    assert_eq!(pool.at(next as u64 - 1).tick(), NOTHING);
    let next_worker = worker + 1;
    let acts = [format!("start {next_worker}"), format!("a to {next_worker}")];
    assert_eq!(pool.at(next as u64).tick(), acts);
    next
}

#[test]
fn the_pause_after_a_failed_start_doubles_up_to_a_limit() {
    let mut pool = Scene::new(|rules| rules.restart.intensity = 100);
    pool.push("a");
    assert_eq!(next_after_failure(&mut pool, 0), 200);
    assert_eq!(next_after_failure(&mut pool, 1), 200 + 400);
    assert_eq!(next_after_failure(&mut pool, 2), 600 + 800);
    assert_eq!(next_after_failure(&mut pool, 3), 1400 + 1000);
    assert_eq!(next_after_failure(&mut pool, 4), 2400 + 1000);
    // One that gets ready makes up for all of them.
    pool.ready(5);
    pool.at(5000);
    pool.down(5);
    assert_eq!(pool.put_back("a"), ["start 6", "a to 6"]);
    assert_eq!(next_after_failure(&mut pool, 6), 5200);
}

#[test]
fn nothing_is_started_during_the_pause() {
    let mut pool = Scene::ready_with(1, |rules| rules.spares = 1);
    pool.pool.spare_made();
    pool.push("a");
    pool.resize(3);
    pool.push("b");
    pool.push("c");
    assert_eq!(pool.at(100).tick(), ["start 1", "b to 1"]);
    assert_eq!(pool.at(110).gone(1), NOTHING);
    // Not the next by its delay, nor a replacement, nor the first, nor a spare.
    assert_eq!(pool.gone(0), NOTHING);
    pool.pool.spare_used(pool.time());
    assert_eq!(pool.acts(), NOTHING);
    assert_eq!(pool.next_tick(), Some(310));
    assert_eq!(pool.at(309).tick(), NOTHING);
    assert_eq!(pool.at(310).tick(), ["start 2", "c to 2", "spare"]);
}

#[test]
fn the_pause_is_waited_for_once_and_then_there_is_rest() {
    let mut pool = Scene::new(|_| ());
    pool.push("a");
    pool.gone(0);
    assert_eq!(pool.next_tick(), Some(200));
    assert_eq!(pool.at(200).tick(), NOTHING);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn those_that_fail_together_make_one_pause() {
    let mut pool = Scene::new(|rules| {
        rules.idle = 3;
        rules.restart.intensity = 100;
    });
    pool.tick();
    pool.gone(0);
    pool.at(50).gone(1);
    pool.at(60).gone(2);
    assert_eq!(pool.next_tick(), Some(200));
    assert_eq!(pool.at(200).tick(), ["start 3", "start 4", "start 5"]);
    pool.gone(3);
    assert_eq!(pool.next_tick(), Some(600));
}

#[test]
fn one_that_gets_ready_ends_the_pause() {
    let mut pool = Scene::new(|rules| rules.idle = 2);
    pool.tick();
    pool.gone(0);
    assert_eq!(pool.ready(1), ["start 2"]);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn the_death_of_a_ready_worker_is_no_failed_start() {
    let mut pool = Scene::new(|_| ());
    pool.push("a");
    for worker in 0..20 {
        pool.ready(worker);
        pool.push("b");
        assert_eq!(pool.gone(worker)[0], format!("start {}", worker + 1));
    }
}

#[test]
fn one_that_is_dying_before_it_is_ready_has_failed_already_and_once() {
    let mut pool = Scene::new(|rules| rules.restart.intensity = 2);
    pool.push("a");
    pool.push("b");
    assert_eq!(pool.down(0), NOTHING);
    assert_eq!(pool.down(0), NOTHING);
    assert_eq!(pool.pool.state_of(pool.id(0)), Some(State::Down));
    assert_eq!(pool.next_tick(), Some(200));
    assert_eq!(pool.at(200).tick(), ["start 1", "b to 1"]);
    assert_eq!(pool.gone(0), NOTHING);
    assert!(!pool.pool.is_broken());
    assert_eq!(pool.gone(1), NOTHING);
    assert!(pool.pool.is_broken());
}

#[test]
fn late_messages_about_one_that_is_gone_are_ignored() {
    let mut pool = Scene::ready_with(1, |_| ());
    pool.push("a");
    pool.gone(0);
    pool.push("b");
    // The second worker has the first one's place.
    assert_eq!(pool.id(1).index, pool.id(0).index);
    let before = pool.pool.counts();
    assert_eq!(pool.done(0), NOTHING);
    assert_eq!(pool.ready(0), NOTHING);
    assert_eq!(pool.down(0), NOTHING);
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.retire(0, Why::Asked), NOTHING);
    assert_eq!(pool.pool.state_of(pool.id(0)), None);
    assert_eq!(pool.pool.counts(), before);
    assert_eq!(pool.push("c"), NOTHING);
    assert_eq!(pool.done(1), ["c to 1"]);
}

#[test]
fn what_was_decided_for_one_that_is_gone_by_then_is_done_by_another() {
    let mut pool = Scene::ready_with(2, |rules| rules.idle = 2);
    let now = pool.time();
    for job in ["a", "b"] {
        pool.pool.push(job, 0, now).expect("taken");
    }
    // Nobody has sent them yet.
    pool.pool.gone(pool.id(1), now);
    assert_eq!(pool.acts(), ["b to 0", "start 2", "a to 2"]);
    // Nor is one told to finish.
    pool.pool.done(pool.id(0), now);
    pool.pool.retire(pool.id(0), now, Why::Asked);
    pool.pool.gone(pool.id(0), now);
    assert_eq!(pool.acts(), ["start 3"]);
}

#[test]
fn messages_that_make_no_sense_are_ignored() {
    let mut pool = Scene::ready_with(1, |_| ());
    assert_eq!(pool.done(0), NOTHING);
    pool.push("a");
    pool.down(0);
    assert_eq!(pool.ready(0), NOTHING);
    assert_eq!(pool.done(0), NOTHING);
    assert_eq!(pool.done(0), NOTHING);
    assert_eq!(pool.down(0), NOTHING);
    assert_eq!(pool.gone(0), NOTHING);
    pool.pool.spare_made();
    pool.pool.spare_used(pool.time());
    assert_eq!(pool.pool.counts(), Default::default());
}

#[test]
fn time_that_goes_back_has_not_passed() {
    let mut pool = Scene::new(|_| ());
    pool.at(1000).push("a");
    pool.at(400).push("b");
    assert_eq!(pool.next_tick(), Some(1100));
    assert_eq!(pool.at(600).tick(), NOTHING);
    assert_eq!(pool.at(1100).tick(), ["start 1", "b to 1"]);
}

#[test]
fn those_that_leave_without_having_done_anything_are_replaced_after_pauses() {
    let mut pool = Scene::new(|rules| rules.idle = 1);
    assert_eq!(pool.tick(), ["start 0"]);
    pool.ready(0);
    assert_eq!(pool.gone(0), ["start 1"]);
    let mut time = 0;
    for (worker, pause) in [200, 400, 800, 1000, 1000].into_iter().enumerate() {
        let worker = worker + 1;
        pool.ready(worker);
        let finish = format!("finish {worker}");
        match worker % 2 {
            0 => assert_eq!(pool.retire(worker, Why::Asked), [finish]),
            _ => assert_eq!(pool.gone(worker), NOTHING),
        }
        time += pause;
        assert_eq!(pool.at(time - 1).tick(), NOTHING);
        assert_eq!(pool.at(time).tick(), [format!("start {}", worker + 1)]);
    }
    assert!(!pool.pool.is_broken());
    // Work makes up for all of them.
    pool.ready(6);
    pool.push("a");
    pool.done(6);
    assert_eq!(pool.gone(6), ["start 7"]);
    pool.ready(7);
    assert_eq!(pool.gone(7), ["start 8"]);
}

#[test]
fn one_that_dies_of_its_first_job_is_replaced_at_once() {
    let mut pool = Scene::new(|rules| {
        rules.max = 1;
        rules.load = 2;
    });
    pool.push("a");
    pool.push("b");
    for worker in 0..3 {
        pool.ready(worker);
        pool.down(worker);
        pool.done(worker);
        assert_eq!(
            pool.put_back("b"),
            [format!("start {}", worker + 1), format!("b to {}", worker + 1)]
        );
        pool.gone(worker);
    }
}

#[test]
fn leaving_long_ago_does_not_count() {
    let mut pool = Scene::new(|rules| rules.idle = 1);
    pool.tick();
    for worker in 0..5 {
        pool.ready(worker);
        pool.at(10_001 * (worker as u64 + 1));
        assert_eq!(pool.gone(worker), [format!("start {}", worker + 1)]);
    }
}

#[test]
fn a_pause_that_is_too_long_for_any_clock_is_one() {
    let mut pool = Scene::new(|rules| {
        rules.restart.backoff = Duration::MAX;
        rules.restart.backoff_max = Duration::MAX;
        rules.restart.intensity = 100;
    });
    pool.push("a");
    pool.down(0);
    pool.put_back("a");
    assert_eq!(pool.gone(0), NOTHING);
    assert!(pool.next_tick().is_some());
    assert_eq!(pool.at(u64::from(u32::MAX)).tick(), NOTHING);
}
