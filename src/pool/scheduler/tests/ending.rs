//! Draining, and stopping.

use super::scene::{NOTHING, Scene};
use crate::pool::scheduler::{Action, Refusal};

#[test]
fn an_empty_pool_is_drained_at_once_and_once() {
    let mut pool = Scene::new(|_| ());
    assert_eq!(pool.drain(), ["drained"]);
    assert_eq!(pool.drain(), NOTHING);
    assert_eq!(pool.tick(), NOTHING);
    pool.pool.stop(pool.time());
    assert_eq!(pool.acts(), NOTHING);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn what_is_queued_is_done_before_the_workers_end() {
    let mut pool = Scene::ready_with(2, |_| ());
    for job in ["a", "b", "c"] {
        pool.push(job);
    }
    assert_eq!(pool.drain(), NOTHING);
    assert!(!pool.pool.has_room());
    assert_eq!(pool.refused("d"), Refusal::Draining);
    assert_eq!(pool.done(0), ["c to 0"]);
    assert_eq!(pool.done(1), ["finish 1"]);
    assert_eq!(pool.gone(1), NOTHING);
    assert_eq!(pool.done(0), ["finish 0"]);
    assert_eq!(pool.gone(0), ["drained"]);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn idle_workers_end_at_once_even_those_that_are_kept_or_starting() {
    let mut pool = Scene::new(|rules| rules.idle = 2);
    pool.tick();
    pool.ready(0);
    assert_eq!(pool.drain(), ["finish 0", "finish 1"]);
    assert_eq!(pool.gone(1), NOTHING);
    assert_eq!(pool.gone(0), ["drained"]);
}

#[test]
fn workers_are_started_for_what_is_queued() {
    let mut pool = Scene::new(|_| ());
    pool.push("a");
    pool.push("b");
    pool.push("c");
    pool.drain();
    assert_eq!(pool.next_tick(), Some(100));
    assert_eq!(pool.at(100).tick(), ["start 1", "b to 1"]);
    pool.ready(0);
    pool.ready(1);
    assert_eq!(pool.done(1), ["c to 1"]);
    // One that dies is replaced for what it had.
    pool.down(0);
    assert_eq!(pool.put_back("a"), ["start 2", "a to 2"]);
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.done(1), ["finish 1"]);
    pool.gone(1);
    assert_eq!(pool.gone(2), ["drained"]);
}

#[test]
fn a_cancelled_job_is_not_waited_for() {
    let mut pool = Scene::new(|_| ());
    pool.push("a");
    pool.push("b");
    pool.drain();
    pool.gone(0);
    assert_eq!(pool.pool.cancel(pool.key("b")), Some("b"));
    assert_eq!(pool.acts(), ["drained"]);
}

#[test]
fn a_pool_that_breaks_while_it_drains_is_drained() {
    let mut pool = Scene::new(|rules| rules.restart.intensity = 1);
    pool.push("a");
    pool.push("b");
    pool.drain();
    assert_eq!(pool.refused("c"), Refusal::Draining);
    assert_eq!(pool.gone(0), ["fail b", "drained"]);
}

#[test]
fn a_broken_pool_can_be_drained() {
    let mut pool = Scene::new(|rules| rules.restart.intensity = 1);
    pool.push("a");
    pool.gone(0);
    assert_eq!(pool.drain(), ["drained"]);
}

#[test]
fn a_spare_that_is_being_made_is_waited_for() {
    let mut pool = Scene::new(|rules| rules.spares = 2);
    assert_eq!(pool.tick(), ["spare", "spare"]);
    assert_eq!(pool.drain(), NOTHING);
    pool.pool.spare_made();
    assert_eq!(pool.acts(), NOTHING);
    pool.pool.spare_lost(pool.time());
    assert_eq!(pool.acts(), ["drained"]);
}

#[test]
fn a_stopped_pool_hands_out_its_queue_and_starts_nothing() {
    let mut pool = Scene::ready_with(2, |rules| rules.idle = 2);
    for job in ["a", "b", "c", "d"] {
        pool.push(job);
    }
    pool.push_with("e", 1);
    let unsent = pool.pool.stop(pool.time());
    assert_eq!(unsent.into_iter().map(|(_, job)| job).collect::<Vec<_>>(), ["e", "c", "d"]);
    assert_eq!(pool.acts(), NOTHING);
    assert!(pool.takers().is_empty());
    assert!(!pool.pool.add_load(pool.id(0)));
    assert_eq!(pool.refused("f"), Refusal::Draining);
    assert_eq!(pool.put_back("a"), ["fail a"]);
    assert_eq!(pool.at(90_000).tick(), NOTHING);
    assert_eq!(pool.next_tick(), None);
    assert_eq!(pool.done(1), NOTHING);
    assert_eq!(pool.gone(1), NOTHING);
    assert_eq!(pool.gone(0), ["drained"]);
    assert_eq!(pool.gone(0), NOTHING);
    assert_eq!(pool.drain(), NOTHING);
}

#[test]
fn a_pool_can_be_stopped_while_it_drains() {
    let mut pool = Scene::ready_with(1, |_| ());
    pool.push("a");
    pool.push("b");
    pool.drain();
    assert_eq!(pool.pool.stop(pool.time()).len(), 1);
    assert_eq!(pool.gone(0), ["drained"]);
}

#[test]
fn what_was_decided_and_not_carried_out_is_not_when_stopped() {
    let mut pool = Scene::ready_with(1, |rules| rules.spares = 1);
    let now = pool.time();
    pool.pool.resize(2, now);
    for job in ["a", "b"] {
        pool.pool.push(job, 0, now).expect("taken");
    }
    pool.pool.tick(now + super::scene::ms(100));
    let unsent = pool.pool.stop(now);
    assert_eq!(unsent.into_iter().map(|(_, job)| job).collect::<Vec<_>>(), ["a", "b"]);
    let mut actions = Vec::new();
    pool.pool.take_actions(&mut actions);
    assert!(actions.is_empty(), "{actions:?}");
    // The one that had been started before is there still; the other never was.
    pool.pool.spare_made();
    pool.pool.gone(pool.id(0), now);
    pool.pool.take_actions(&mut actions);
    assert!(matches!(actions[..], [Action::Drained]), "{actions:?}");
}

#[test]
fn one_that_was_not_even_started_is_not_told_to_finish_when_stopped() {
    let mut pool = Scene::new(|rules| rules.idle = 1);
    let now = pool.time();
    pool.pool.tick(now);
    pool.pool.drain(now);
    assert!(pool.pool.stop(now).is_empty());
    assert_eq!(pool.acts(), ["drained"]);
}

#[test]
fn after_the_end_nothing_is_taken_back() {
    let mut pool = Scene::ready_with(1, |_| ());
    pool.push("a");
    pool.drain();
    assert_eq!(pool.gone(0), ["drained"]);
    assert_eq!(pool.put_back("a"), ["fail a"]);
    pool.pool.spare_made();
    assert_eq!(pool.reload(), NOTHING);
    assert_eq!(pool.next_tick(), None);
}
