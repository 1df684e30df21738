//! Calls for each of many items: in order or as they come, as iterators and as streams, and
//! no more of them than there is use for.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::os::unix::process::ExitStatusExt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use futures_core::Stream;
use offshoot::pool::PoolBuilder;
use offshoot::{Error, Pool};
use offshoot_tests::block_on::{Bell, block_on};
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::worker]
fn double(n: u64) -> u64 {
    2 * n
}

/// Of three jobs one panics, and one ends its process.
#[offshoot::worker]
fn fragile(n: u32) -> u32 {
    match n % 3 {
        1 => panic!("it is {n}"),
        2 => std::process::exit(9),
        _ => n,
    }
}

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job);
    job
}

/// Even jobs are held.
#[offshoot::worker(init = turnstile::enter)]
fn half_held(at: &mut Passage, job: u32) -> u32 {
    if job.is_multiple_of(2) {
        at.pass(job);
    }
    job
}

fn two_of_one(turnstile: &Turnstile) -> PoolBuilder<u32, u32> {
    let pool = Pool::builder(half_held).template(turnstile.template());
    pool.max(2).load(1).start(Duration::ZERO)
}

/// Items, and how many of them have been taken.
fn counted<T>(items: impl Iterator<Item = T>) -> (impl Iterator<Item = T>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&count);
    let counted = items.inspect(move |_| {
        counts.fetch_add(1, Ordering::Relaxed);
    });
    (counted, count)
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

async fn collect<S: Stream + Unpin>(mut stream: S) -> Vec<S::Item> {
    let mut all = Vec::new();
    while let Some(item) = next(&mut stream).await {
        all.push(item);
    }
    all
}

fn values<T>(results: Vec<Result<T, Error>>) -> Vec<T> {
    results.into_iter().map(Result::unwrap).collect()
}

#[test]
fn results_of_a_map_keep_the_order_of_the_items() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = two_of_one(&turnstile).build().unwrap();
        let mut map = pool.map(0..6);
        let waits = std::thread::spawn(move || {
            // What was done before waits for the first one.
            let all: Vec<u32> = map.by_ref().map(Result::unwrap).collect();
            assert!(map.next().is_none(), "and it stays so");
            all
        });
        // Of those that are held, any may begin first.
        turnstile.next();
        turnstile.open();
        assert_eq!(waits.join().unwrap(), [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn results_of_an_unordered_map_come_as_they_are_there() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = two_of_one(&turnstile).build().unwrap();
        let mut map = pool.map_unordered([0, 1, 3, 5]).indexed();
        // The first one is held for as long as this is not open.
        let mut early: Vec<(usize, u32)> =
            map.by_ref().take(3).map(|(index, result)| (index, result.unwrap())).collect();
        early.sort_unstable();
        assert_eq!(early, [(1, 1), (2, 3), (3, 5)]);
        turnstile.open();
        let (index, result) = map.next().unwrap();
        assert_eq!((index, result.unwrap()), (0, 0));
        assert!(map.next().is_none() && map.next().is_none());
    });
}

#[test]
fn each_item_has_its_own_result_or_error() {
    within(DEADLINE, || {
        let pool = Pool::builder(fragile).max(2).start(Duration::ZERO).build().unwrap();
        let check = |n: usize, result: Result<u32, Error>| match (n % 3, result) {
            (0, result) => assert_eq!(result.unwrap(), n as u32),
            (1, result) => {
                let error = result.unwrap_err();
                assert_eq!(error.panic_message(), Some(&*format!("it is {n}")));
            }
            (_, result) => {
                let error = result.unwrap_err();
                assert_eq!(error.exit_status().and_then(|s| s.code()), Some(9), "{error}");
                assert_eq!(
                    (error.was_started(), error.exit_status().unwrap().signal()),
                    (Some(true), None)
                );
            }
        };
        let results: Vec<_> = pool.map(0..9).collect();
        assert_eq!(results.len(), 9);
        results.into_iter().enumerate().for_each(|(n, result)| check(n, result));
        let mut seen = BTreeSet::new();
        for (n, result) in pool.map_unordered(0..9).indexed() {
            check(n, result);
            assert!(seen.insert(n));
        }
        assert_eq!(seen.len(), 9);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.panicked, stats.failed.died), (6, 6, 6));
    });
}

#[test]
fn items_are_taken_as_there_is_use_for_them() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = Pool::builder(held).template(turnstile.template()).max(2).load(1);
        let pool = pool.start(Duration::ZERO).build().unwrap();
        let (items, taken) = counted(0..);
        let mut map = pool.map_unordered(items);
        assert_eq!(taken.load(Ordering::Relaxed), 0, "nothing before the first is asked for");
        turnstile.let_through(1);
        map.next().unwrap().unwrap();
        // Two run, as many wait; and of those that came back one was asked for.
        let at_once = taken.load(Ordering::Relaxed);
        assert!(at_once <= 5, "{at_once}");
        drop(map);
        turnstile.open();
        let stats = pool.finish().unwrap();
        assert_eq!(stats.done as usize, taken.load(Ordering::Relaxed), "what was made is done");

        let pool = Pool::builder(double).max(2).load(8).build().unwrap();
        let (items, taken) = counted(0..);
        for (n, result) in pool.map_unordered(items).enumerate().take(3_000) {
            result.unwrap();
            assert!(taken.load(Ordering::Relaxed) <= n + 1 + 32);
        }
    });
}

#[test]
fn a_map_goes_on_where_the_queue_is_full() {
    within(DEADLINE, || {
        for limit in [0, 1, 3] {
            let pool = Pool::builder(double).max(2).queue_limit(limit).build().unwrap();
            let pool = Arc::new(pool);
            let other = Arc::clone(&pool);
            let others = std::thread::spawn(move || {
                (0..300).for_each(|n| assert_eq!(other.call(n).wait().unwrap(), 2 * n));
            });
            let ordered: Vec<u64> = pool.map(0..300).map(Result::unwrap).collect();
            assert_eq!(ordered, (0..300).map(|n| 2 * n).collect::<Vec<_>>());
            let stream = pool.map(0..300).into_stream();
            assert_eq!(values(block_on(collect(stream))), ordered);
            others.join().unwrap();
        }
    });
}

#[test]
fn streams_are_polled_by_any_executor() {
    within(DEADLINE, || {
        let pool = Pool::builder(double).max(2).start(Duration::ZERO).build().unwrap();
        let wanted: Vec<u64> = (0..500).map(|n| 2 * n).collect();
        let all = || async {
            let ordered = collect(pool.map(0..500).into_stream()).await;
            let unordered = collect(pool.map_unordered(0..500).into_stream()).await;
            let indexed = collect(pool.map_unordered(0..500).indexed().into_stream()).await;
            (ordered, unordered, indexed)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (ordered, unordered, mut indexed) in [block_on(all()), runtime.block_on(all())] {
            assert_eq!(values(ordered), wanted);
            let mut unordered = values(unordered);
            unordered.sort_unstable();
            assert_eq!(unordered, wanted);
            indexed.sort_by_key(|(index, _)| *index);
            for (n, (index, result)) in indexed.into_iter().enumerate() {
                assert_eq!((index, result.unwrap()), (n, wanted[n]));
            }
        }
    });
}

#[test]
fn a_stream_wakes_only_who_polled_it_and_stays_at_its_end() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = Pool::builder(held).template(turnstile.template()).build().unwrap();
        let (items, taken) = counted(0..2);
        let mut stream = pin!(pool.map(items).into_stream());
        let bell = Bell::new();
        let waker = Arc::clone(&bell).into();
        assert!(stream.as_mut().poll_next(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!((bell.rings(), taken.load(Ordering::Relaxed)), (0, 2));
        turnstile.open();
        let rest = block_on(collect(stream.as_mut()));
        assert_eq!(values(rest), [0, 1]);
        assert!(block_on(next(&mut stream)).is_none());
    });
}

#[test]
fn many_maps_share_a_pool() {
    within(DEADLINE, || {
        let pool = Pool::builder(double).max(3).start(Duration::ZERO).build().unwrap();
        std::thread::scope(|s| {
            for base in [0, 10_000, 20_000] {
                let pool = &pool;
                s.spawn(move || {
                    let answers: Vec<u64> =
                        pool.map(base..base + 1000).map(Result::unwrap).collect();
                    assert!(answers.iter().zip(base..).all(|(answer, n)| *answer == 2 * n));
                });
            }
        });
        // Two that take turns, in one thread.
        for (one, other) in pool.map(0..200).zip(pool.map(200..400)) {
            assert_eq!(one.unwrap() + 400, other.unwrap());
        }
        assert_eq!(pool.map(0..0).count(), 0);
    });
}
