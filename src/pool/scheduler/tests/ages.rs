//! When workers are replaced because of their age.

use std::collections::BTreeSet;
use std::time::Duration;

use super::scene::{NOTHING, Scene, ms};

#[test]
fn who_is_too_old_is_recycled_when_its_time_has_come() {
    let mut pool = Scene::new(|rules| {
        rules.idle = 1;
        rules.max_age = Some(ms(5000));
    });
    pool.tick();
    assert_eq!(pool.next_tick(), None);
    pool.at(40).ready(0);
    assert_eq!(pool.next_tick(), Some(5040));
    assert_eq!(pool.at(5039).tick(), NOTHING);
    assert_eq!(pool.at(5040).tick(), ["finish 0", "start 1"]);
    pool.ready(1);
    assert_eq!(pool.next_tick(), Some(10_040));
    pool.gone(0);
    // A busy one finishes what it has, and takes no more.
    pool.push("a");
    pool.at(6000).change(|rules| rules.idle = 0);
    assert_eq!(pool.at(10_040).tick(), NOTHING);
    assert_eq!(pool.push("b"), ["start 2", "b to 2"]);
    assert_eq!(pool.done(1), ["finish 1"]);
    // One that is gone is not waited for.
    pool.ready(2);
    assert_eq!(pool.next_tick(), Some(15_040));
    pool.gone(2);
    assert_eq!(pool.next_tick(), None);
}

#[test]
fn how_old_is_drawn_for_each_worker() {
    let mut pool = Scene::new(|rules| {
        rules.max = 200;
        rules.idle = 200;
        rules.max_age = Some(ms(10_000));
        rules.jitter = 0.2;
        rules.max_recycling = 200;
    });
    assert_eq!(pool.tick().len(), 200);
    (0..200).for_each(|worker| assert_eq!(pool.ready(worker), NOTHING));
    pool.change(|rules| rules.idle = 0);
    let mut times = Vec::new();
    while let Some(at) = pool.pool.next_tick() {
        let now = pool.time();
        times.push(at.duration_since(now));
        pool.pool.tick(at);
    }
    assert_eq!(pool.acts().len(), 200);
    assert!(times.len() > 190, "{} different times", times.len());
    assert!(*times.first().unwrap() >= ms(8000) && *times.first().unwrap() < ms(8200));
    assert!(*times.last().unwrap() <= ms(10_000) && *times.last().unwrap() > ms(9800));
}

#[test]
fn an_age_that_no_clock_can_tell_is_never_reached() {
    let mut pool = Scene::new(|rules| {
        rules.max_age = Some(Duration::MAX);
        rules.jitter = 1.0;
    });
    assert_eq!(pool.push("a"), ["start 0", "a to 0"]);
    assert_eq!(pool.ready(0), NOTHING);
    assert_eq!(pool.next_tick(), None);
}

/// How many workers are started in ten seconds, and how many there are at most, if a start
/// takes 20 ms, an end 50, and nothing is called.
fn turnover(max: usize, max_age: u64) -> (usize, usize) {
    let mut pool = Scene::new(|rules| {
        (rules.max, rules.idle) = (max, max);
        rules.max_age = Some(ms(max_age));
        rules.max_recycling = usize::MAX;
        rules.restart.backoff = ms(10);
    });
    let (mut started, mut alive, mut most, mut now) = (0, 0, 0, 0);
    let mut coming = BTreeSet::new();
    let mut acts = pool.tick();
    while now < 10_000 {
        for act in acts {
            match act.split_once(' ') {
                Some(("start", worker)) => {
                    (started, alive) = (started + 1, alive + 1);
                    coming.insert((now + 20, "ready", worker.parse().unwrap()));
                }
                Some(("finish", worker)) => {
                    coming.insert((now + 50, "gone", worker.parse().unwrap()));
                }
                _ => panic!("{act}"),
            }
            most = most.max(alive);
            assert!(alive < 1000, "a fork storm: {started} were started in {now} ms");
        }
        let tick = pool.next_tick().map_or(u64::MAX, |at| at as u64);
        let Some((at, what, worker)) = coming.first().copied().filter(|(at, ..)| *at <= tick)
        else {
            now = tick;
            acts = pool.at(now).tick();
            continue;
        };
        coming.pop_first();
        now = at;
        acts = match what {
            "ready" => pool.at(now).ready(worker),
            _ => {
                alive -= 1;
                pool.at(now).gone(worker)
            }
        };
    }
    (started, most)
}

#[test]
fn an_age_that_is_shorter_than_a_start_is_no_fork_storm() {
    // With pauses of 10, 20, 40 ... ms up to one second.
    for max_age in [0, 1, 15] {
        let (started, most) = turnover(1, max_age);
        assert!((5..30).contains(&started), "of {max_age} ms: {started}");
        assert!(most <= 4, "of {max_age} ms: {most} at once");
        let (started, most) = turnover(4, max_age);
        assert!((20..120).contains(&started), "of {max_age} ms: {started}");
        assert!(most <= 12, "of {max_age} ms: {most} at once");
    }
}

#[test]
fn who_has_lived_for_as_long_as_a_pause_is_replaced_at_once() {
    let (started, most) = turnover(4, 1000);
    assert_eq!((started, most), (4 * 10, 8));
}

#[test]
fn an_age_that_is_over_at_once_leaves_time_for_a_job() {
    let mut pool = Scene::new(|rules| rules.max_age = Some(Duration::ZERO));
    for worker in 0..5 {
        assert_eq!(pool.push("a"), [format!("start {worker}"), format!("a to {worker}")]);
        assert_eq!(pool.ready(worker), NOTHING);
        assert_eq!(pool.done(worker), [format!("finish {worker}")]);
        assert_eq!(pool.gone(worker), NOTHING);
    }
}
