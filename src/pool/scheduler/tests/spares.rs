//! Processes that are forked early.

use super::scene::{NOTHING, Scene};

#[test]
fn spares_are_made_from_the_first_event_on() {
    let mut pool = Scene::new(|rules| {
        rules.spares = 2;
        rules.idle = 1;
    });
    assert_eq!(pool.tick(), ["start 0", "spare", "spare"]);
    assert_eq!(pool.pool.counts().spares, 0);
    pool.pool.spare_made();
    assert_eq!(pool.pool.counts().spares, 1);
    pool.pool.spare_made();
    assert_eq!(pool.pool.counts().spares, 2);
    assert_eq!(pool.acts(), NOTHING);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn one_that_is_used_is_replaced_behind_everything_else() {
    let mut pool = Scene::new(|rules| rules.spares = 1);
    pool.tick();
    pool.pool.spare_made();
    pool.pool.spare_used(pool.time());
    // Even if the job comes only afterwards.
    assert_eq!(pool.push("a"), ["start 0", "a to 0", "spare"]);
    assert_eq!(pool.pool.counts().spares, 0);
}

#[test]
fn one_that_is_lost_is_replaced_after_a_pause() {
    let mut pool = Scene::new(|rules| rules.spares = 1);
    assert_eq!(pool.tick(), ["spare"]);
    let pauses = [200, 600, 1400, 3000, 6200, 12_600, 25_400, 51_000, 102_200, 162_200, 222_200];
    for at in pauses {
        pool.pool.spare_lost(pool.time());
        assert_eq!(pool.acts(), NOTHING);
        assert_eq!(pool.next_tick(), Some(at));
        assert_eq!(pool.at(at as u64).tick(), ["spare"]);
    }
    // That breaks no pool: workers can be made without.
    assert!(!pool.pool.is_broken());
    pool.push("a");
    pool.ready(0);
    pool.pool.spare_lost(pool.time());
    assert_eq!(pool.next_tick(), Some(222_400));
}

#[test]
fn there_is_a_pause_though_workers_have_none() {
    let mut pool = Scene::new(|rules| {
        rules.spares = 1;
        (rules.restart.backoff, rules.restart.backoff_max) = Default::default();
    });
    assert_eq!(pool.tick(), ["spare"]);
    for at in [10, 30, 70] {
        pool.pool.spare_lost(pool.time());
        assert_eq!(pool.acts(), NOTHING);
        assert_eq!(pool.at(at).tick(), ["spare"]);
    }
}

#[test]
fn workers_do_not_wait_for_spares_that_fail() {
    let mut pool = Scene::new(|rules| rules.spares = 1);
    pool.tick();
    pool.pool.spare_lost(pool.time());
    assert_eq!(pool.push("a"), ["start 0", "a to 0"]);
    assert_eq!(pool.next_tick(), Some(200));
    assert_eq!(pool.at(200).tick(), ["spare"]);
    // But spares for workers that fail.
    pool.pool.spare_lost(pool.time());
    assert_eq!(pool.at(500).gone(0), NOTHING);
    assert_eq!(pool.at(600).tick(), NOTHING);
    assert_eq!(pool.at(700).tick(), ["spare"]);
}

#[test]
fn a_worker_that_gets_ready_or_another_template_shows_that_spares_can_be_made() {
    let mut pool = Scene::new(|rules| rules.spares = 1);
    pool.tick();
    pool.push("a");
    pool.pool.spare_lost(pool.time());
    assert_eq!(pool.ready(0), ["spare"]);
    pool.pool.spare_lost(pool.time());
    assert_eq!(pool.reload(), ["spare"]);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn it_need_not_be_known_which_one_is_lost() {
    let mut pool = Scene::new(|rules| rules.spares = 2);
    pool.tick();
    pool.pool.spare_made();
    // The one that was there dies, then the other one comes.
    pool.pool.spare_lost(pool.time());
    pool.pool.spare_made();
    assert_eq!(pool.pool.counts().spares, 1);
    assert_eq!(pool.at(200).tick(), ["spare"]);
    // The one that is being made does not come.
    pool.pool.spare_lost(pool.time());
    assert_eq!(pool.pool.counts().spares, 1);
    assert_eq!(pool.at(600).tick(), ["spare"]);
    pool.pool.spare_made();
    assert_eq!(pool.pool.counts().spares, 2);
    // And what was never asked for is not there.
    pool.pool.spare_made();
    assert_eq!(pool.pool.counts().spares, 2);
}

#[test]
fn more_can_be_wanted_and_fewer() {
    let mut pool = Scene::new(|rules| rules.spares = 1);
    pool.tick();
    pool.pool.spare_made();
    assert_eq!(pool.change(|rules| rules.spares = 3), ["spare", "spare"]);
    pool.pool.spare_made();
    pool.pool.spare_made();
    assert_eq!(pool.change(|rules| rules.spares = 1), NOTHING);
    pool.pool.spare_used(pool.time());
    pool.pool.spare_used(pool.time());
    assert_eq!(pool.acts(), NOTHING);
    pool.pool.spare_used(pool.time());
    assert_eq!(pool.acts(), ["spare"]);
}

#[test]
fn those_that_nobody_makes_any_more_are_not_waited_for() {
    let mut pool = Scene::new(|rules| rules.spares = 2);
    assert_eq!(pool.tick(), ["spare", "spare"]);
    pool.pool.spares_to_come(1);
    assert_eq!(pool.drain(), NOTHING);
    pool.pool.spares_to_come(0);
    pool.pool.tick(pool.time());
    assert_eq!(pool.acts(), ["drained"]);
}
