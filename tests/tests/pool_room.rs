//! What waits for room in the queue, and for how long a call may run then.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use offshoot::{Done, Fd, Pool};
use offshoot_tests::block_on::{Bell, all, block_on, run_woken};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

/// Answered when the gate is open, if there is one.
#[offshoot::worker]
fn open(done: Done<u32>, n: u32, gate: Option<Fd>) {
    match gate {
        None => done.complete(n),
        Some(gate) => drop(std::thread::spawn(move || {
            pass(&gate);
            done.complete(n);
        })),
    }
}

#[test]
fn the_time_that_a_call_has_begins_when_it_is_sent() {
    within(DEADLINE, || {
        let time = Duration::from_secs(3);
        let pool = Pool::builder(open).max(1).load(1).queue_limit(0).timeout(time);
        let pool = pool.build().unwrap();
        let (gate, shut) = Gate::new();
        let first = pool.request((1, Some(shut))).timeout(DEADLINE).call();
        std::thread::scope(|s| {
            let waits = s.spawn(|| pool.call((2, None)).wait());
            let awaits = s.spawn(|| block_on(async { pool.call_async((3, None)).await.await }));
            // Longer than they may take.
            std::thread::sleep(time + Duration::from_millis(200));
            drop(gate);
            assert_eq!(waits.join().unwrap().unwrap(), 2);
            assert_eq!(awaits.join().unwrap().unwrap(), 3);
        });
        assert_eq!(first.wait().unwrap(), 1);
        assert_eq!(pool.finish().unwrap().failed.total(), 0);
    });
}

#[test]
fn many_that_wait_for_room_all_get_it() {
    within(DEADLINE, || {
        let pool = Pool::builder(open).max(1).load(2).queue_limit(3).build().unwrap();
        let full = AtomicUsize::new(0);
        std::thread::scope(|s| {
            let callers = [0, 1, 2, 3, 4, 5].map(|caller| {
                let (pool, full) = (&pool, &full);
                s.spawn(move || {
                    for n in 0..300 {
                        let told = match caller % 3 {
                            0 => pool.call((n, None)).wait(),
                            1 => block_on(async { pool.call_async((n, None)).await.await }),
                            _ => match pool.try_call((n, None)) {
                                Ok(call) => call.wait(),
                                Err(refused) => {
                                    assert!(refused.error.is_full());
                                    full.fetch_add(1, Ordering::Relaxed);
                                    pool.call(refused.args).wait()
                                }
                            },
                        };
                        assert_eq!(told.unwrap(), n);
                    }
                })
            });
            callers.into_iter().for_each(|caller| caller.join().unwrap());
        });
        assert_eq!(pool.finish().unwrap().done, 1800);
    });
}

#[test]
fn maps_and_streams_share_what_room_there_is() {
    use std::pin::Pin;

    use futures_core::Stream;
    within(DEADLINE, || {
        let pool = Pool::builder(open).max(1).load(1).queue_limit(1).build().unwrap();
        std::thread::scope(|s| {
            let maps = [0, 1].map(|_| {
                s.spawn(|| pool.map((0..200).map(|n| (n, None))).map(Result::unwrap).sum::<u32>())
            });
            let streams = s.spawn(|| {
                let stream = || {
                    let mut stream = pool.map_unordered((0..200).map(|n| (n, None))).into_stream();
                    let mut sum = 0;
                    Box::pin(async move {
                        while let Some(told) =
                            std::future::poll_fn(|context| Pin::new(&mut stream).poll_next(context))
                                .await
                        {
                            sum += told.unwrap();
                        }
                        sum
                    })
                };
                block_on(all(vec![stream(), stream()]))
            });
            let wanted = (0..200).sum::<u32>();
            assert!(maps.map(|map| map.join().unwrap()).iter().all(|sum| *sum == wanted));
            assert_eq!(streams.join().unwrap(), [wanted, wanted]);
        });
        eventually(DEADLINE, "nothing is left", || pool.stats().running == 0);
        assert_eq!(pool.finish().unwrap().done, 800);
    });
}

#[test]
fn of_many_who_await_room_one_is_woken_for_each_place() {
    within(DEADLINE, || {
        let pool = Pool::builder(open).max(1).load(2).queue_limit(2).build().unwrap();
        let calls = (0..1000).map(|n| {
            let pool = &pool;
            async move { pool.call_async((n, None)).await.await.unwrap() }
        });
        let (told, woken) = run_woken(calls);
        assert_eq!(told, Vec::from_iter(0..1000));
        // Once for room and once for the result, and some in vain: more where this thread takes
        // its time. To wake all each time would be hundreds of thousands.
        assert!(woken < 20_000, "{woken}");
        assert_eq!(pool.finish().unwrap().done, 1000);
    });
}

#[test]
fn one_who_is_told_and_does_not_look_is_passed_over() {
    within(DEADLINE, || {
        for drops in [false, true] {
            let pool = Pool::builder(open).max(1).load(1).queue_limit(0).build().unwrap();
            let (gate, shut) = Gate::new();
            let first = pool.call((1, Some(shut)));
            let bells = [Bell::new(), Bell::new()];
            let awaits = |n: u32, bell: &Arc<Bell>| {
                let mut call = Box::pin(pool.call_async((n, None)));
                let waker = Waker::from(Arc::clone(bell));
                assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                call
            };
            let mut idle = Some(awaits(2, &bells[0]));
            let next = awaits(3, &bells[1]);
            drop(gate);
            assert_eq!(first.wait().unwrap(), 1);
            eventually(DEADLINE, "the first is told", || bells[0].rings() > 0);
            idle.take_if(|_| drops);
            eventually(DEADLINE, "the second is told", || bells[1].rings() > 0);
            assert_eq!(block_on(async { next.await.await }).unwrap(), 3);
            let told = idle.map(|idle| block_on(async { idle.await.await }).unwrap());
            assert_eq!(told, (!drops).then_some(2));
            let done = if drops { 2 } else { 3 };
            assert_eq!(pool.finish().unwrap().done, done);
        }
    });
}
