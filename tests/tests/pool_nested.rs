//! A pool in a worker of a pool, and one pool that is used from everywhere at once.

use offshoot::Pool;
use offshoot_tests::probe::Clean;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::worker]
fn square(n: u64) -> u64 {
    n * n
}

/// By a pool of its own.
#[offshoot::worker]
fn sum_of_squares(of: u64) -> u64 {
    let pool = Pool::builder(square).max(2).build().expect("it can have one");
    let sum = pool.map_unordered(1..=of).map(|told| told.expect("it is done")).sum();
    pool.finish().expect("it comes to an end");
    sum
}

/// The same, one that lives as long as the worker does.
fn own(_: offshoot::RunArgs) -> Pool<u64, u64> {
    Pool::builder(square).max(2).idle(1).build().expect("it can have one")
}

#[offshoot::worker(init = own)]
fn sum_by_own(pool: &mut Pool<u64, u64>, of: u64) -> u64 {
    pool.map(1..=of).map(|told| told.expect("it is done")).sum()
}

fn sum(of: u64) -> u64 {
    (1..=of).map(|n| n * n).sum()
}

#[test]
fn a_worker_has_a_pool_of_its_own() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = Pool::builder(sum_of_squares).max(2).build().unwrap();
        let told: Vec<u64> = pool.map(1..20).map(Result::unwrap).collect();
        assert_eq!(told, (1..20).map(sum).collect::<Vec<_>>());
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn a_worker_keeps_its_pool_until_its_own_end() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = Pool::builder(sum_by_own).max(2).max_jobs(5).build().unwrap();
        let told: Vec<u64> = pool.map(1..30).map(Result::unwrap).collect();
        assert_eq!(told, (1..30).map(sum).collect::<Vec<_>>());
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn threads_and_tasks_use_one_pool_at_once() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = Pool::builder(square).max(3).queue_limit(8).build().unwrap();
        std::thread::scope(|s| {
            for thread in 0..3 {
                let pool = &pool;
                s.spawn(move || {
                    for n in 0..100 {
                        assert_eq!(pool.call(thread + n).wait().unwrap(), (thread + n).pow(2));
                    }
                });
            }
            s.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let task = || async {
                    for n in 0..100 {
                        assert_eq!(pool.call_async(n).await.await.unwrap(), n * n);
                        tokio::task::yield_now().await;
                    }
                };
                runtime.block_on(async { tokio::join!(task(), task(), task()) });
            });
            s.spawn(|| {
                let (sender, told) = std::sync::mpsc::channel();
                for n in 0..100 {
                    let sender = sender.clone();
                    pool.call_then(n, move |told| sender.send(told.unwrap() == n * n).unwrap());
                }
                drop(sender);
                assert_eq!(told.iter().filter(|good| *good).count(), 100);
            });
            s.spawn(|| assert!(pool.map(0..200).zip(0..).all(|(told, n)| told.unwrap() == n * n)));
        });
        assert_eq!(pool.finish().unwrap().done, 300 + 300 + 100 + 200);
        drop(pool);
        clean.after();
    });
}
