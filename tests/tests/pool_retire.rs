//! Workers that ask to be replaced, at any moment: the spirit of AnyEvent::Fork::Pool's own
//! test.

use std::collections::BTreeSet;
use std::time::Duration;

use offshoot::pool::PoolBuilder;
use offshoot::{Context, Done, Pool};
use offshoot_tests::probe::Clean;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// What a job is to do: nap, ask before, between or after its naps, and say who it was.
type Job = (u64, [bool; 3]);

fn ask(if_so: bool) {
    if if_so {
        assert!(offshoot::pool::retire());
    }
}

#[offshoot::worker]
fn sync(cx: &Context<u32>, nap: u64, asks: [bool; 3]) -> u32 {
    ask(asks[0]);
    std::thread::sleep(Duration::from_millis(nap / 2));
    cx.event(&std::process::id());
    ask(asks[1]);
    std::thread::sleep(Duration::from_millis(nap / 2));
    ask(asks[2]);
    std::process::id()
}

/// From another thread, and also after the answer.
#[offshoot::worker]
fn by_done(cx: &Context<u32>, done: Done<u32>, nap: u64, asks: [bool; 3]) {
    ask(asks[0]);
    cx.event(&std::process::id());
    std::thread::spawn(move || {
        ask(asks[1]);
        std::thread::sleep(Duration::from_millis(nap));
        done.complete(std::process::id());
        ask(asks[2]);
    });
}

#[offshoot::worker]
async fn by_await(cx: Context<u32>, nap: u64, asks: [bool; 3]) -> u32 {
    ask(asks[0]);
    cx.event(&std::process::id());
    tokio::time::sleep(Duration::from_millis(nap)).await;
    ask(asks[1]);
    tokio::task::yield_now().await;
    ask(asks[2]);
    std::process::id()
}

/// Thirty jobs with naps of any length, some of which ask; and as many again behind them.
fn thirty_jobs(builder: PoolBuilder<Job, u32, u32>, load: usize) {
    let clean = Clean::before();
    let mut random = offshoot_tests::lying::Random::new(load as u64);
    let (sender, events) = crossbeam_channel::unbounded();
    let pool = builder.max(3).load(load).start(Duration::ZERO).stop(Duration::MAX);
    let pool = pool.on_event(move |pid, told| sender.send((pid, told)).unwrap()).build().unwrap();
    let mut jobs = (0..30).map(|_| (random.below(8), [0; 3].map(|_| random.below(4) == 0)));
    let first: Vec<Job> = jobs.by_ref().take(15).collect();
    let rest: Vec<Job> = jobs.collect();
    let calls: Vec<_> = first.iter().map(|job| pool.call(*job)).collect();
    let mut pids: BTreeSet<u32> = pool.map_unordered(rest).map(Result::unwrap).collect();
    pids.extend(calls.into_iter().map(|call| call.wait().unwrap()));
    let stats = pool.finish().unwrap();
    assert_eq!((stats.done, stats.failed.total(), stats.died), (30, 0, 0), "{stats:?}");
    assert!(pids.len() > 3 && stats.started >= pids.len() as u64, "they were replaced: {pids:?}");
    drop(pool);
    let events: Vec<(u32, u32)> = events.iter().collect();
    assert_eq!(events.len(), 30);
    assert!(events.iter().all(|(pid, told)| pid == told && pids.contains(pid)));
    clean.after();
}

#[test]
fn of_synchronous_workers() {
    within(DEADLINE, || [1, 2, 4].map(|load| thirty_jobs(Pool::builder(sync), load)));
}

#[test]
fn of_workers_with_done() {
    within(DEADLINE, || [1, 2, 4].map(|load| thirty_jobs(Pool::builder(by_done), load)));
}

#[test]
fn of_workers_that_await() {
    within(DEADLINE, || [1, 2, 4].map(|load| thirty_jobs(Pool::builder(by_await), load)));
}

#[test]
fn outside_of_a_pool_nothing_happens() {
    assert!(!offshoot::pool::retire());
}
