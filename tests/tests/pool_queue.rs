//! Calls that wait for a worker: how many may, in which order they go, and what those who
//! make more of them are told.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use offshoot::pool::PoolBuilder;
use offshoot::{Call, Pool};
use offshoot_tests::block_on::{Bell, block_on};
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job);
    job
}

/// One worker, that is given one call at a time.
fn builder(turnstile: &Turnstile) -> PoolBuilder<u32, u32> {
    Pool::builder(held).template(turnstile.template()).max(1).load(1)
}

/// With room for one call, which is taken, as is the worker.
fn full(turnstile: &Turnstile) -> (Pool<u32, u32>, [Call<u32>; 2]) {
    let pool = builder(turnstile).queue_limit(1).build().unwrap();
    let calls = [0, 1].map(|job| pool.call(job));
    assert_eq!(turnstile.next().0, 0);
    assert_eq!((pool.stats().running, pool.stats().queued), (1, 1));
    (pool, calls)
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Whether a thread of this process sleeps.
fn sleeps(tid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('S')
}

#[test]
fn what_try_call_cannot_take_comes_back() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let (pool, calls) = full(&turnstile);
        let refused = pool.try_call(7).unwrap_err();
        assert_eq!(refused.args, 7);
        assert!(refused.error.is_full() && !refused.is_pool_ended(), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("wait for one of them"), "{text}");
        let refused = pool.request(8).priority(9).try_call().unwrap_err();
        assert!(refused.is_full() && refused.args == 8);
        turnstile.open();
        assert!(calls.into_iter().all(|call| call.wait().is_ok()));
        assert_eq!(pool.try_call(7).unwrap().wait().unwrap(), 7);
        assert_eq!(pool.finish().unwrap().done, 3, "what was refused was no call");
    });
}

#[test]
fn call_waits_for_room() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let (pool, calls) = full(&turnstile);
        let (begins, begun) = mpsc::channel();
        let (tells, told) = mpsc::channel();
        thread::scope(|s| {
            s.spawn(|| {
                begins.send(nix::unistd::gettid().as_raw()).unwrap();
                let call = pool.call(2);
                tells.send(()).unwrap();
                assert_eq!(call.wait().unwrap(), 2);
            });
            let tid = begun.recv().unwrap();
            eventually(DEADLINE, "it waits", || sleeps(tid) || told.try_recv().is_ok());
            assert!(told.try_recv().is_err(), "it did not wait");
            assert_eq!(pool.stats().queued, 1);
            turnstile.let_through(1);
            told.recv().unwrap();
            assert_eq!(turnstile.next().0, 1);
            assert_eq!(pool.stats().queued, 1);
            turnstile.open();
        });
        drop(calls);
    });
}

#[test]
fn no_more_than_the_limit_wait_however_many_threads_call() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).queue_limit(2).build().unwrap();
        let pool = &pool;
        thread::scope(|s| {
            let threads: Vec<_> =
                (0..8).map(|n| s.spawn(move || pool.call(n).wait().unwrap())).collect();
            for _ in &threads {
                turnstile.next();
                assert!(pool.stats().queued <= 2, "{:?}", pool.stats());
                turnstile.let_through(1);
            }
        });
        assert_eq!(pool.stats().done, 8);
    });
}

#[test]
fn call_async_awaits_room() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let (pool, calls) = full(&turnstile);
        let bell = Bell::new();
        let waker = Arc::clone(&bell).into();
        let mut third = pin!(pool.call_async(2));
        assert!(poll(third.as_mut(), &waker).is_pending());
        let mut fourth = pin!(pool.request(3).priority(-1).call_async());
        assert!(poll(fourth.as_mut(), &waker).is_pending());
        assert_eq!((bell.rings(), pool.stats().queued), (0, 1));
        turnstile.let_through(1);
        let call = block_on(third);
        assert_eq!(pool.stats().queued, 1);
        turnstile.open();
        assert_eq!(block_on(call).unwrap(), 2);
        assert_eq!(block_on(block_on(fourth)).unwrap(), 3);
        assert!(bell.rings() > 0);
        drop(calls);
    });
}

#[test]
fn a_future_that_is_dropped_before_there_is_room_makes_no_call() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let (pool, calls) = full(&turnstile);
        {
            let mut third = pin!(pool.call_async(2));
            assert!(poll(third.as_mut(), Waker::noop()).is_pending());
        }
        turnstile.open();
        drop(calls);
        assert_eq!(pool.finish().unwrap().done, 2);
    });
}

/// Ends the pool while two wait for room, and the worker holds a call: they are told at
/// once, not when that is over.
fn tells_those_who_wait(end: fn(&Pool<u32, u32>), and_then: fn(&Turnstile)) {
    within(DEADLINE, move || {
        let turnstile = Turnstile::new();
        let (pool, calls) = full(&turnstile);
        let (begins, begun) = mpsc::channel();
        thread::scope(|s| {
            let blocked = s.spawn(|| {
                begins.send(nix::unistd::gettid().as_raw()).unwrap();
                pool.call(2).wait().unwrap_err()
            });
            let mut awaiting = pin!(pool.call_async(3));
            assert!(poll(awaiting.as_mut(), Waker::noop()).is_pending());
            let tid = begun.recv().unwrap();
            eventually(DEADLINE, "it waits", || sleeps(tid));
            let ends = s.spawn(|| end(&pool));
            let told = block_on(block_on(awaiting)).unwrap_err();
            assert!(told.is_pool_ended(), "{told}");
            let told = blocked.join().unwrap();
            assert!(told.is_pool_ended(), "{told}");
            and_then(&turnstile);
            ends.join().unwrap();
        });
        drop(calls);
    });
}

#[test]
fn who_waits_for_room_is_told_when_the_pool_is_finished() {
    let end = |pool: &Pool<u32, u32>| {
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.total()), (2, 0), "what was made is done");
    };
    tells_those_who_wait(end, Turnstile::open);
}

#[test]
fn who_waits_for_room_is_told_when_the_pool_is_killed() {
    let end = |pool: &Pool<u32, u32>| {
        pool.kill().unwrap();
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed.died, stats.failed.refused), (1, 1));
    };
    tells_those_who_wait(end, |_| {});
}

#[test]
fn without_a_queue_calls_are_taken_as_workers_have_room() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(2).queue_limit(0).start(Duration::ZERO);
        let pool = pool.build().unwrap();
        let calls = [0, 1].map(|job| pool.try_call(job).unwrap());
        let refused = pool.try_call(2).unwrap_err();
        assert!(refused.is_full(), "{refused}");
        assert_eq!(turnstile.next_of(2).0, [0, 1]);
        turnstile.open();
        assert!(calls.into_iter().all(|call| call.wait().is_ok()));
        assert_eq!(pool.call(2).wait().unwrap(), 2);
    });
}

#[test]
fn calls_of_higher_priority_go_first_and_older_ones_of_the_same() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).build().unwrap();
        let first = pool.call(0);
        assert_eq!(turnstile.next().0, 0);
        let waiting = [(1, 0), (2, 5), (3, 5), (4, -1), (5, i32::MAX), (6, i32::MIN), (7, 0)];
        let calls = waiting.map(|(job, priority)| pool.request(job).priority(priority).call());
        turnstile.open();
        let order: Vec<u32> = waiting.iter().map(|_| turnstile.next().0).collect();
        assert_eq!(order, [5, 2, 3, 1, 7, 4, 6]);
        drop((first, calls));
    });
}

#[test]
fn a_call_with_the_highest_priority_does_not_disturb_what_a_worker_has() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).load(2).build().unwrap();
        let calls = [pool.call(0), pool.call(1), pool.request(2).priority(9).call()];
        turnstile.open();
        assert_eq!([0; 3].map(|_| turnstile.next().0), [0, 1, 2]);
        drop(calls);
    });
}
