//! When workers are started.

use super::scene::{NOTHING, Scene, ms};
use crate::pool::scheduler::Why;

#[test]
fn nothing_is_started_for_nothing() {
    let mut pool = Scene::new(|_| ());
    assert_eq!(pool.tick(), NOTHING);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn the_first_is_started_at_once_and_more_after_each_delay() {
    let mut pool = Scene::new(|rules| rules.max = 3);
    assert_eq!(pool.push("a"), ["start 0", "a to 0"]);
    assert_eq!(pool.next_tick(), None);
    for job in ["b", "c", "d"] {
        assert_eq!(pool.at(10).push(job), NOTHING);
    }
    assert_eq!(pool.next_tick(), Some(110));
    assert_eq!(pool.at(109).tick(), NOTHING);
    assert_eq!(pool.at(110).tick(), ["start 1", "b to 1"]);
    assert_eq!(pool.next_tick(), Some(210));
    // A late tick starts one worker all the same.
    assert_eq!(pool.at(500).tick(), ["start 2", "c to 2"]);
    // These are all.
    assert_eq!(pool.next_tick(), None);
    assert_eq!(pool.at(9000).tick(), NOTHING);
    assert_eq!(pool.pool.queued(), 1);
}

#[test]
fn the_delay_is_the_time_that_all_are_busy_without_a_break() {
    let mut pool = Scene::new(|_| ());
    pool.push("a");
    pool.ready(0);
    pool.at(50).push("b");
    assert_eq!(pool.next_tick(), Some(150));
    assert_eq!(pool.at(100).done(0), ["b to 0"]);
    assert_eq!(pool.next_tick(), None);
    pool.at(120).push("c");
    assert_eq!(pool.at(150).tick(), NOTHING);
    assert_eq!(pool.next_tick(), Some(220));
    // A job that is withdrawn is a break, too.
    let key = pool.key("c");
    assert_eq!(pool.pool.cancel(key), Some("c"));
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn without_a_delay_as_many_are_started_as_are_needed() {
    let mut pool = Scene::ready_with(1, |rules| rules.load = 2);
    for job in ["a", "b", "c", "d", "e", "f", "g"] {
        pool.push(job);
    }
    // Five are queued, and two go to each.
    let acts = pool.change(|rules| {
        rules.start = ms(0);
        rules.max = 9;
    });
    assert_eq!(
        acts,
        ["start 1", "c to 1", "d to 1", "start 2", "e to 2", "f to 2", "start 3", "g to 3"]
    );
    assert_eq!(pool.push("h"), ["h to 3"]);
    assert_eq!(pool.push("i"), ["start 4", "i to 4"]);
}

#[test]
fn without_a_delay_there_are_no_more_than_the_maximum() {
    let mut pool = Scene::new(|rules| rules.start = ms(0));
    for job in ["a", "b", "c", "d"] {
        assert_eq!(pool.push(job).len(), 2);
    }
    assert_eq!(pool.push("e"), NOTHING);
    assert_eq!(pool.pool.takers().len(), 4);
}

#[test]
fn idle_workers_are_started_at_once_when_the_pool_is_made() {
    let mut pool = Scene::new(|rules| rules.idle = 2);
    assert_eq!(pool.next_tick(), None);
    assert_eq!(pool.tick(), ["start 0", "start 1"]);
    assert_eq!(pool.next_tick(), None);
    let mut pool = Scene::new(|rules| rules.idle = 9);
    assert_eq!(pool.tick().len(), 4);
    // A job may come first.
    let mut pool = Scene::new(|rules| rules.idle = 1);
    assert_eq!(pool.push("a"), ["start 0", "a to 0"]);
    assert_eq!(pool.next_tick(), Some(100));
}

#[test]
fn idle_workers_that_become_busy_are_followed_by_others() {
    let mut pool = Scene::new(|rules| rules.idle = 2);
    pool.tick();
    pool.ready(0);
    pool.ready(1);
    assert_eq!(pool.at(1000).push("a"), ["a to 1"]);
    assert_eq!(pool.next_tick(), Some(1100));
    assert_eq!(pool.at(1100).tick(), ["start 2"]);
    // One that is starting counts as idle.
    assert_eq!(pool.next_tick(), None);
    // Two more would be wanted, one may be.
    pool.push("b");
    pool.push("c");
    assert_eq!(pool.at(1200).tick(), ["start 3"]);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn more_idle_workers_are_started_one_after_the_other() {
    let mut pool = Scene::ready_with(1, |rules| rules.idle = 1);
    pool.resize(3);
    pool.pool.set_idle(3, pool.time());
    assert_eq!(pool.acts(), NOTHING);
    assert_eq!(pool.at(100).tick(), ["start 1"]);
    assert_eq!(pool.at(200).tick(), ["start 2"]);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn one_that_has_died_is_replaced_at_once_if_it_is_wanted() {
    let mut pool = Scene::ready_with(2, |_| ());
    pool.push("a");
    pool.push("b");
    pool.push("c");
    assert_eq!(pool.at(5).gone(0), ["start 2", "c to 2"]);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn one_that_has_died_is_replaced_as_soon_as_it_is_wanted() {
    let mut pool = Scene::ready_with(3, |_| ());
    pool.push("a");
    pool.push("b");
    pool.push("c");
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.next_tick(), None);
    assert_eq!(pool.at(5000).push("d"), ["start 3", "d to 3"]);
    assert_eq!(pool.push("e"), NOTHING);
    // It replaces one worker, and no more: the maximum has been reached again.
    assert_eq!(pool.next_tick(), None);
    pool.resize(4);
    assert_eq!(pool.next_tick(), Some(5100));
}

#[test]
fn one_that_is_dying_is_replaced_before_it_is_gone() {
    let mut pool = Scene::ready_with(1, |_| ());
    pool.push("a");
    pool.push("b");
    assert_eq!(pool.down(0), ["start 1", "b to 1"]);
    pool.ready(1);
    assert_eq!(pool.gone(0), NOTHING);
    // That was one worker, not two.
    assert_eq!(pool.push("c"), NOTHING);
    pool.resize(2);
    assert_eq!(pool.next_tick(), Some(100));
}

#[test]
fn those_that_were_lost_are_not_missed_once_there_are_too_many() {
    let mut pool = Scene::ready_with(4, |_| ());
    pool.gone(2);
    pool.gone(3);
    assert_eq!(pool.at(10_000).tick(), ["finish 0", "finish 1"]);
    pool.gone(0);
    pool.gone(1);
    // The first is started at once in any case, the second no more.
    assert_eq!(pool.push("b"), ["start 4", "b to 4"]);
    assert_eq!(pool.push("c"), NOTHING);
    assert_eq!(pool.next_tick(), Some(10_100));
}

#[test]
fn one_that_retires_is_replaced_at_once_if_it_is_wanted() {
    let mut pool = Scene::ready_with(2, |rules| rules.idle = 1);
    pool.push("a");
    assert_eq!(pool.retire(1, Why::Asked), NOTHING);
    assert_eq!(pool.retire(0, Why::Asked), ["finish 0", "start 2"]);
    pool.push("b");
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn a_higher_maximum_is_grown_into_with_the_delay() {
    let mut pool = Scene::ready_with(1, |_| ());
    pool.push("a");
    pool.push("b");
    pool.push("c");
    assert_eq!(pool.next_tick(), None);
    assert_eq!(pool.at(50).resize(2), NOTHING);
    assert_eq!(pool.next_tick(), Some(150));
    assert_eq!(pool.at(150).tick(), ["start 1", "b to 1"]);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn times_that_never_come_are_never_waited_for() {
    let mut pool = Scene::new(|rules| {
        rules.start = std::time::Duration::MAX;
        rules.stop = std::time::Duration::MAX;
        rules.max_age = Some(std::time::Duration::MAX);
    });
    assert_eq!(pool.push("a"), ["start 0", "a to 0"]);
    assert_eq!(pool.push("b"), NOTHING);
    pool.ready(0);
    pool.done(0);
    pool.done(0);
    assert_eq!(pool.pool.counts().idle, 1);
    assert_eq!(pool.next_tick(), None);
}
