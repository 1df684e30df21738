//! When idle workers are stopped.

use super::scene::{NOTHING, Scene, ms};

#[test]
fn who_has_been_idle_too_long_is_stopped_at_that_moment() {
    let mut pool = Scene::new(|_| ());
    pool.push("a");
    pool.ready(0);
    assert_eq!(pool.next_tick(), None);
    pool.at(300).done(0);
    assert_eq!(pool.next_tick(), Some(10_300));
    assert_eq!(pool.at(10_299).tick(), NOTHING);
    assert_eq!(pool.at(10_300).tick(), ["finish 0"]);
    assert_eq!(pool.next_tick(), None);
    assert_eq!(pool.pool.counts().retiring, 1);
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.pool.counts(), Default::default());
}

#[test]
fn the_least_recently_used_is_stopped_first_and_each_in_its_own_time() {
    let mut pool = Scene::ready_with(3, |_| ());
    for job in ["a", "b", "c"] {
        pool.push(job);
    }
    pool.at(100).done(2);
    pool.at(200).done(0);
    pool.at(300).done(1);
    assert_eq!(pool.at(10_100).tick(), ["finish 2"]);
    assert_eq!(pool.next_tick(), Some(10_200));
    // Use makes it young again, so the other one comes first.
    assert_eq!(pool.at(10_150).push("d"), ["d to 1"]);
    assert_eq!(pool.push("e"), ["e to 0"]);
    pool.at(10_160).done(0);
    pool.at(10_170).done(1);
    assert_eq!(pool.next_tick(), Some(20_160));
    assert_eq!(pool.at(30_000).tick(), ["finish 0", "finish 1"]);
}

#[test]
fn so_many_idle_ones_are_kept() {
    let mut pool = Scene::ready_with(4, |rules| rules.idle = 2);
    assert_eq!(pool.at(10_000).tick(), ["finish 0", "finish 1"]);
    assert_eq!(pool.next_tick(), None);
    // Fewer are kept: the next one has been idle for long enough.
    pool.at(20_000);
    pool.pool.set_idle(1, pool.time());
    assert_eq!(pool.acts(), ["finish 2"]);
}

#[test]
fn who_is_idle_at_all_is_stopped_at_once_if_the_delay_is_zero() {
    let mut pool = Scene::new(|rules| rules.stop = ms(0));
    pool.push("a");
    pool.ready(0);
    pool.push("b");
    assert_eq!(pool.done(0), ["b to 0"]);
    assert_eq!(pool.done(0), ["finish 0"]);
    assert_eq!(pool.next_tick(), None);
    // What comes then is not sent to it, even though it is there still.
    assert_eq!(pool.push("c"), ["start 1", "c to 1"]);
}

#[test]
fn one_that_is_not_ready_is_not_idle() {
    let mut pool = Scene::new(|_| ());
    pool.push("a");
    pool.done(0);
    assert_eq!(pool.next_tick(), None);
    assert_eq!(pool.at(20_000).tick(), NOTHING);
    pool.ready(0);
    assert_eq!(pool.next_tick(), Some(30_000));
}

#[test]
fn stopping_is_not_recycling() {
    let mut pool = Scene::ready_with(3, |rules| rules.max_recycling = 1);
    assert_eq!(pool.at(10_000).tick(), ["finish 0", "finish 1", "finish 2"]);
    // None of them was there when the pool was reloaded, and none counts as away.
    assert_eq!(pool.reload(), NOTHING);
    assert_eq!(pool.push("a"), ["start 3", "a to 3"]);
    assert_eq!(pool.reload(), NOTHING);
    assert_eq!(pool.done(3), ["finish 3"]);
}
