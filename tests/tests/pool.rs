//! Pools: calls over workers that come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use offshoot::{Context, Fd, Pool, Process, RunArgs};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

#[offshoot::worker]
fn double(n: u64) -> u64 {
    2 * n
}

#[offshoot::worker]
fn own_pid() -> u32 {
    std::process::id()
}

#[offshoot::worker]
fn held(gate: Fd) -> u32 {
    pass(&gate);
    std::process::id()
}

#[offshoot::worker]
fn nap(millis: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(millis));
    std::process::id()
}

#[offshoot::worker]
fn tells(cx: &Context<u64>, n: u64) -> u32 {
    cx.event(&n);
    std::process::id()
}

struct Prepared {
    words: Vec<String>,
    factor: u64,
}

fn prepared(queued: RunArgs, factor: u64) -> Prepared {
    let words = queued.args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
    Prepared { words, factor }
}

#[offshoot::worker(init = prepared)]
fn scaled(state: &mut Prepared, n: u64) -> String {
    format!("{} {}", state.words.join("+"), state.factor * n)
}

#[test]
fn calls_are_answered() {
    within(DEADLINE, || {
        let pool = Pool::builder(double).build().unwrap();
        let calls: Vec<_> = (0..100).map(|n| pool.call(n)).collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.wait().unwrap(), 2 * n as u64);
        }
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.total()), (100, 0));
        assert_eq!(stats.wait.count(), 100);
        assert_eq!((stats.idle, stats.busy, stats.starting, stats.retiring), (0, 0, 0, 0));
        assert!(pool.call(1).wait().unwrap_err().is_pool_ended());
    });
}

#[test]
fn what_the_template_has_reaches_every_worker() {
    within(DEADLINE, || {
        let template = Process::new().unwrap().send_arg("a").send_arg("b");
        let pool = Pool::builder(scaled).template(template).init(3u64).max(3).build().unwrap();
        let all: BTreeSet<String> = pool.map_unordered(0..30).map(|r| r.unwrap()).collect();
        let wanted: BTreeSet<String> = (0..30).map(|n| format!("a+b {}", 3 * n)).collect();
        assert_eq!(all, wanted);
    });
}

#[test]
fn events_come_with_the_workers_pid() {
    within(DEADLINE, || {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let pool = Pool::builder(tells)
            .max(2)
            .start(Duration::ZERO)
            .on_event(move |pid, n| sender.send((pid, n)).unwrap())
            .build()
            .unwrap();
        let pids: Vec<u32> = pool.map(0..20).map(|r| r.unwrap()).collect();
        pool.finish().unwrap();
        drop(pool);
        let mut told: Vec<(u32, u64)> = receiver.iter().collect();
        told.sort_by_key(|(_, n)| *n);
        let wanted: Vec<(u32, u64)> = pids.into_iter().zip(0..).collect();
        assert_eq!(told, wanted);
    });
}

#[test]
fn a_map_is_in_order_and_pulls_no_more_than_it_needs() {
    within(DEADLINE, || {
        let pool = Pool::builder(double).max(2).load(4).build().unwrap();
        let pulled = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&pulled);
        let endless = (0..).inspect(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let mut taken = 0;
        for (n, result) in (0..).zip(pool.map(endless)).take(5_000) {
            assert_eq!(result.unwrap(), 2 * n);
            taken += 1;
            // Twice what the workers can have.
            assert!(pulled.load(Ordering::Relaxed) <= taken + 16);
        }
    });
}

#[test]
fn it_grows_to_its_maximum_and_shrinks_to_what_is_kept() {
    within(DEADLINE, || {
        let pool = Pool::builder(held)
            .max(3)
            .idle(1)
            .load(1)
            .start(Duration::from_millis(1))
            .stop(Duration::from_millis(20))
            .build()
            .unwrap();
        let (gate, shut) = Gate::new();
        let calls: Vec<_> = (0..6).map(|_| pool.call(shut.clone())).collect();
        eventually(DEADLINE, "all are at work", || pool.stats().busy == 3);
        drop((gate, shut));
        let pids: BTreeSet<u32> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
        assert_eq!(pids.len(), 3);
        eventually(DEADLINE, "only one is kept", || {
            let stats = pool.stats();
            stats.idle == 1 && stats.starting + stats.busy + stats.retiring == 0
        });
        assert_eq!(pool.pids().len(), 1);
        assert_eq!(pool.finish().unwrap().ended, 3);
    });
}

#[test]
fn drop_lets_queued_calls_be_done() {
    within(DEADLINE, || {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let pool = Pool::builder(nap)
            .max(2)
            .on_destroy(move || told.store(true, Ordering::Release))
            .build()
            .unwrap();
        let calls: Vec<_> = (0..20).map(|_| pool.call(2)).collect();
        drop(pool);
        for call in calls {
            call.wait().unwrap();
        }
        eventually(DEADLINE, "on_destroy", || over.load(Ordering::Acquire));
    });
}

#[test]
fn the_first_call_of_a_spare_needs_no_fork() {
    within(DEADLINE, || {
        let pool = Pool::builder(own_pid).spares(2).stop(Duration::ZERO).build().unwrap();
        eventually(DEADLINE, "they are there", || pool.stats().spares == 2);
        let first = pool.call(()).wait().unwrap();
        eventually(DEADLINE, "it was replaced", || pool.stats().spares == 2);
        eventually(DEADLINE, "it has ended", || pool.pids().is_empty());
        let second = pool.call(()).wait().unwrap();
        assert_ne!(first, second);
        pool.finish().unwrap();
    });
}
