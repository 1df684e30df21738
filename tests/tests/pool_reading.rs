//! A thread that takes the results of a map reads what the workers say by itself; whoever
//! else uses the pool, and whatever it does between two results, is not forgotten meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot::{Context, Pool};
use offshoot_tests::block_on::block_on;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::worker]
fn double(n: u64) -> u64 {
    2 * n
}

#[offshoot::worker]
fn nap(micros: u64) -> u32 {
    thread::sleep(Duration::from_micros(micros));
    std::process::id()
}

#[offshoot::worker]
fn tells(cx: &Context<u64>, n: u64) -> u64 {
    cx.event(&n);
    n
}

fn pool(load: usize) -> Pool<u64, u64> {
    Pool::builder(double).max(2).load(load).start(Duration::ZERO).build().unwrap()
}

#[test]
fn callbacks_come_while_the_thread_is_away() {
    within(DEADLINE, || {
        let pool = pool(2);
        let (sender, receiver) = crossbeam_channel::unbounded();
        for (n, result) in (0..).zip(pool.map(0..200)) {
            assert_eq!(result.unwrap(), 2 * n);
            let sender = sender.clone();
            pool.call_then(n, move |result| sender.send(result.unwrap()).unwrap());
            // Nobody but the hub can read it now.
            assert_eq!(receiver.recv().unwrap(), 2 * n);
        }
    });
}

#[test]
fn futures_are_woken_while_the_thread_is_away() {
    within(DEADLINE, || {
        let pool = Arc::new(pool(3));
        let (sender, receiver) = crossbeam_channel::unbounded();
        let other = Arc::clone(&pool);
        let asks = thread::spawn(move || {
            block_on(async {
                for n in 0..200 {
                    assert_eq!(other.call(n).await.unwrap(), 2 * n);
                    sender.send(n).unwrap();
                }
            });
        });
        for (n, result) in (0..).zip(pool.map(0..200)) {
            assert_eq!(result.unwrap(), 2 * n);
            assert_eq!(receiver.recv().unwrap(), n);
        }
        asks.join().unwrap();
    });
}

#[test]
fn items_may_wait_for_other_calls_of_the_same_pool() {
    within(DEADLINE, || {
        let pool = pool(2);
        let called = pool.map((0..200).map(|n| pool.call(n).wait().unwrap()));
        assert_eq!(called.map(|r| r.unwrap()).collect::<Vec<_>>(), quadruple(200));
        let called_back = pool.map((0..200).map(|n| {
            let (sender, receiver) = crossbeam_channel::bounded(1);
            pool.call_then(n, move |result| sender.send(result.unwrap()).unwrap());
            receiver.recv().unwrap()
        }));
        assert_eq!(called_back.map(|r| r.unwrap()).collect::<Vec<_>>(), quadruple(200));
        let mapped = pool.map(pool.map(0..200).map(|r| r.unwrap()));
        assert_eq!(mapped.map(|r| r.unwrap()).collect::<Vec<_>>(), quadruple(200));
    });
}

fn quadruple(items: u64) -> Vec<u64> {
    (0..items).map(|n| 4 * n).collect()
}

#[test]
fn several_threads_and_streams_take_results_at_once() {
    within(DEADLINE, || {
        for load in [1, 2, 100] {
            let pool = pool(load);
            thread::scope(|scope| {
                for thread in 0..4u64 {
                    let pool = &pool;
                    let items = move || (0..2_000).map(move |n| 10_000 * thread + n);
                    scope.spawn(move || {
                        let sum: u64 = match thread {
                            0 => pool.map(items()).map(|r| r.unwrap()).sum(),
                            1 => items().map(|n| pool.call(n).wait().unwrap()).sum(),
                            2 => pool.map_unordered(items()).map(|r| r.unwrap()).sum(),
                            _ => {
                                let mut stream = pool.map_unordered(items()).into_stream();
                                block_on(async {
                                    let mut sum = 0;
                                    while let Some(result) = next(&mut stream).await {
                                        sum += result.unwrap();
                                    }
                                    sum
                                })
                            }
                        };
                        assert_eq!(sum, 2 * items().sum::<u64>());
                    });
                }
            });
            assert_eq!(pool.finish().unwrap().done, 8_000);
        }
    });
}

/// The next item of a stream.
async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

#[test]
fn results_are_waited_for_asleep_and_more_workers_than_are_looked_at_serve_it_too() {
    within(DEADLINE, || {
        for (max, micros) in [(2, 3_000), (70, 20)] {
            let pool = Pool::builder(nap).max(max).idle(max).start(Duration::ZERO).build().unwrap();
            assert_eq!(pool.map_unordered([micros; 300]).filter(|r| r.is_ok()).count(), 300);
        }
    });
}

#[test]
fn a_worker_that_dies_while_the_thread_is_away_is_replaced() {
    within(DEADLINE, || {
        let pool = Pool::builder(nap).max(2).load(4).start(Duration::ZERO).build().unwrap();
        let (mut done, mut died) = (0, 0);
        for result in pool.map_unordered([200; 300]) {
            match result {
                Ok(pid) => {
                    done += 1;
                    if done % 20 == 0 {
                        // It may be gone already.
                        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                Err(error) => {
                    assert!(error.is_disconnected(), "{error}");
                    died += 1;
                }
            }
        }
        assert_eq!(done + died, 300);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.died), (done, died));
    });
}

#[test]
fn events_are_told_while_results_are_taken() {
    within(DEADLINE, || {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let pool = Pool::builder(tells)
            .max(2)
            .load(50)
            .on_event(move |_, n| sender.send(n).unwrap())
            .build()
            .unwrap();
        let mut told = BTreeSet::new();
        for result in pool.map_unordered(0..3_000) {
            // Told before its result, by this thread or another.
            told.extend(receiver.try_iter());
            assert!(told.contains(&result.unwrap()));
        }
        assert_eq!(told.len(), 3_000);
    });
}
