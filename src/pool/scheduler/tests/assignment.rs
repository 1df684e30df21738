//! Who gets a job, and when.

use super::scene::{NOTHING, Scene, ms};
use crate::pool::scheduler::{Refusal, State, Why};

#[test]
fn the_least_loaded_worker_gets_the_job() {
    let mut pool = Scene::ready_with(2, |rules| rules.load = 3);
    assert_eq!(pool.push("a"), ["a to 1"]);
    assert_eq!(pool.push("b"), ["b to 0"]);
    assert_eq!(pool.push("c"), ["c to 0"]);
    assert_eq!(pool.push("d"), ["d to 1"]);
    assert_eq!(pool.done(0), NOTHING);
    assert_eq!(pool.done(0), NOTHING);
    assert_eq!(pool.push("e"), ["e to 0"]);
    assert_eq!(pool.push("f"), ["f to 0"]);
}

#[test]
fn among_equals_the_most_recently_used_gets_the_job() {
    let mut pool = Scene::ready_with(3, |_| ());
    assert_eq!(pool.push("a"), ["a to 2"]);
    assert_eq!(pool.push("b"), ["b to 1"]);
    assert_eq!(pool.push("c"), ["c to 0"]);
    pool.done(1);
    pool.done(2);
    pool.done(0);
    assert_eq!(pool.push("d"), ["d to 0"]);
    assert_eq!(pool.push("e"), ["e to 2"]);
    assert_eq!(pool.push("f"), ["f to 1"]);
}

#[test]
fn one_that_has_been_given_a_job_counts_as_used() {
    let mut pool = Scene::ready_with(3, |rules| rules.load = 2);
    pool.push("a");
    pool.push("b");
    assert_eq!(pool.push("c"), ["c to 0"]);
    // All have one.
    assert_eq!(pool.push("d"), ["d to 0"]);
    assert_eq!(pool.push("e"), ["e to 1"]);
    assert_eq!(pool.push("f"), ["f to 2"]);
    assert_eq!(pool.push("g"), NOTHING);
}

#[test]
fn starting_workers_take_jobs_but_ready_ones_come_first() {
    let mut pool = Scene::new(|rules| rules.idle = 3);
    assert_eq!(pool.tick(), ["start 0", "start 1", "start 2"]);
    pool.ready(1);
    assert_eq!(pool.push("a"), ["a to 1"]);
    assert_eq!(pool.push("b"), ["b to 0"]);
    assert_eq!(pool.pool.state_of(pool.id(0)), Some(State::Starting));
    assert_eq!(pool.push("c"), ["c to 2"]);
    assert_eq!(pool.push("d"), NOTHING);
    assert_eq!(pool.ready(2), NOTHING);
    assert_eq!(pool.pool.state_of(pool.id(2)), Some(State::Busy));
    assert_eq!(pool.done(2), ["d to 2"]);
}

#[test]
fn what_is_queued_goes_to_the_first_that_has_room() {
    let mut pool = Scene::ready_with(1, |rules| rules.load = 2);
    assert_eq!(pool.push("a"), ["a to 0"]);
    assert_eq!(pool.push("b"), ["b to 0"]);
    assert_eq!(pool.push("c"), NOTHING);
    assert_eq!(pool.push("d"), NOTHING);
    assert_eq!(pool.pool.queued(), 2);
    assert_eq!(pool.done(0), ["c to 0"]);
    assert_eq!(pool.done(0), ["d to 0"]);
    assert_eq!(pool.pool.queued(), 0);
}

#[test]
fn higher_priorities_come_first_and_then_the_oldest() {
    let mut pool = Scene::ready_with(1, |_| ());
    pool.push("busy");
    for (job, priority) in
        [("low", -1), ("a", 0), ("high", 5), ("b", 0), ("lowest", i32::MIN), ("higher", 6)]
    {
        assert_eq!(pool.push_with(job, priority), NOTHING);
    }
    let order: Vec<_> = (0..6).flat_map(|_| pool.done(0)).collect();
    assert_eq!(order, ["higher to 0", "high to 0", "a to 0", "b to 0", "low to 0", "lowest to 0"]);
    assert!(pool.key("higher") < pool.key("high") && pool.key("a") < pool.key("b"));
}

#[test]
fn a_job_that_is_put_back_has_its_old_place() {
    let mut pool = Scene::ready_with(1, |rules| rules.queue_limit = 2);
    pool.push("a");
    pool.push("b");
    pool.push_with("c", 1);
    assert_eq!(pool.down(0), ["start 1", "c to 1"]);
    assert_eq!(pool.put_back("a"), NOTHING);
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.done(1), ["a to 1"]);
    assert_eq!(pool.done(1), ["b to 1"]);
}

#[test]
fn a_job_that_is_put_back_is_not_refused() {
    let mut pool = Scene::ready_with(2, |rules| rules.queue_limit = 1);
    pool.push("a");
    pool.push("b");
    pool.push("c");
    pool.resize(1);
    pool.down(1);
    assert_eq!(pool.put_back("a"), NOTHING);
    assert_eq!(pool.pool.queued(), 2);
    assert_eq!(pool.refused("d"), Refusal::Full);
}

#[test]
fn the_limit_of_the_queue_does_not_count_what_is_sent() {
    let mut pool = Scene::ready_with(1, |rules| rules.queue_limit = 2);
    for job in ["a", "b", "c"] {
        assert!(pool.pool.has_room());
        pool.push(job);
    }
    assert!(!pool.pool.has_room());
    assert_eq!(pool.refused("d"), Refusal::Full);
    assert_eq!(pool.done(0), ["b to 0"]);
    assert!(pool.pool.has_room());
    pool.push("d");
    assert!(!pool.pool.has_room());
}

#[test]
fn with_no_queue_a_job_is_taken_only_if_it_can_be_sent() {
    let mut pool = Scene::new(|rules| {
        rules.queue_limit = 0;
        rules.max = 2;
    });
    // Nobody is there, but the first is started at once.
    assert!(pool.pool.has_room());
    assert_eq!(pool.push("a"), ["start 0", "a to 0"]);
    assert!(!pool.pool.has_room());
    assert_eq!(pool.refused("b"), Refusal::Full);
    // The refusal is what the pool grows by.
    assert_eq!(pool.next_tick(), Some(100));
    assert_eq!(pool.at(100).tick(), ["start 1"]);
    assert_eq!(pool.push("b"), ["b to 1"]);
    assert_eq!(pool.refused("c"), Refusal::Full);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn with_no_queue_and_no_delay_workers_are_started_by_the_job() {
    let mut pool = Scene::new(|rules| {
        rules.queue_limit = 0;
        rules.max = 2;
        rules.start = ms(0);
    });
    assert_eq!(pool.push("a"), ["start 0", "a to 0"]);
    assert!(pool.pool.has_room());
    assert_eq!(pool.push("b"), ["start 1", "b to 1"]);
    assert!(!pool.pool.has_room());
    assert_eq!(pool.refused("c"), Refusal::Full);
}

#[test]
fn a_queued_job_can_be_cancelled_and_a_sent_one_cannot() {
    let mut pool = Scene::ready_with(1, |_| ());
    pool.push("a");
    pool.push("b");
    pool.push("c");
    let key = pool.key("b");
    assert_eq!(pool.pool.cancel(key), Some("b"));
    assert_eq!(pool.pool.cancel(key), None);
    let key = pool.key("a");
    assert_eq!(pool.pool.cancel(key), None);
    assert_eq!(pool.done(0), ["c to 0"]);
    assert_eq!(pool.done(0), NOTHING);
}

#[test]
fn a_broadcast_goes_beyond_the_load() {
    let mut pool = Scene::ready_with(2, |_| ());
    pool.push("a");
    assert_eq!(pool.takers(), [0, 1]);
    for worker in pool.pool.takers() {
        assert!(pool.pool.add_load(worker));
    }
    // Both are full now, one twice.
    assert_eq!(pool.push("b"), NOTHING);
    assert_eq!(pool.done(1), NOTHING);
    assert_eq!(pool.done(1), ["b to 1"]);
    assert_eq!(pool.done(0), NOTHING);
    assert_eq!(pool.push("c"), ["c to 0"]);
}

#[test]
fn a_broadcast_passes_those_that_take_no_jobs() {
    let mut pool = Scene::ready_with(3, |_| ());
    pool.push("a");
    assert_eq!(pool.retire(2, Why::Asked), NOTHING);
    pool.down(1);
    assert_eq!(pool.takers(), [0]);
    assert!(!pool.pool.add_load(pool.id(2)));
    assert!(!pool.pool.add_load(pool.id(1)));
    pool.gone(1);
    assert!(!pool.pool.add_load(pool.id(1)));
    assert!(pool.pool.add_load(pool.id(0)));
}

#[test]
fn a_higher_load_is_filled_and_a_lower_one_is_waited_for() {
    let mut pool = Scene::ready_with(2, |_| ());
    for job in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        pool.push(job);
    }
    let mut acts = pool.change(|rules| rules.load = 3);
    acts.sort_unstable();
    assert_eq!(acts, ["c to 0", "d to 1", "e to 1", "f to 0"]);
    assert_eq!(pool.change(|rules| rules.load = 1), NOTHING);
    assert_eq!(pool.done(0), NOTHING);
    assert_eq!(pool.done(0), NOTHING);
    assert_eq!(pool.done(0), ["g to 0"]);
    assert_eq!(pool.change(|rules| rules.load = usize::MAX), ["h to 0", "i to 0"]);
}
