//! Very many workers, and very many calls.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offshoot::{Pool, Process, RunArgs};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::proc::{children_of, memory};
use offshoot_tests::{DEADLINE, eventually};

use super::{Before, Scene, nap};

pub(super) const SCENES: &[Scene] =
    &[("a thousand workers", a_thousand_workers), ("many calls", many_calls)];

const WORKERS: usize = 1000;

fn keep(queued: RunArgs) -> OwnedFd {
    queued.fds.into_iter().next().expect("a gate was sent")
}

#[offshoot::worker(init = keep)]
fn wait_at(gate: &mut OwnedFd) -> u32 {
    pass(gate);
    std::process::id()
}

/// All at once, each with a call; then they are gone.
fn a_thousand_workers() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let before = Before::now();
    let (gate, shut) = Gate::new();
    let template = Process::new().unwrap().send_fd(&shut);
    drop(shut);
    let pool = Pool::builder(wait_at).template(template).max(WORKERS).load(1);
    let pool = pool.start(Duration::ZERO).stop(Duration::MAX).build().unwrap();
    let calls: Vec<_> = (0..WORKERS).map(|_| pool.call(())).collect();
    let stats = pool.stats();
    assert_eq!((stats.running, stats.queued), (WORKERS, 0));
    eventually(DEADLINE, "all are there", || children_of(before.template).len() == WORKERS);
    drop(gate);
    let pids: BTreeSet<u32> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
    assert_eq!(pids.len(), WORKERS);
    // Each is used again, whichever there is.
    assert_eq!(
        pool.map_unordered(vec![(); 5 * WORKERS]).filter(|told| told.is_ok()).count(),
        5 * WORKERS
    );
    let stats = pool.finish().unwrap();
    assert_eq!((stats.started, stats.ended), (WORKERS as u64, WORKERS as u64));
    drop(pool);
    before.is_again();

    // And killed, with calls that run and calls that wait.
    let pool = Pool::builder(nap).max(WORKERS).load(2).start(Duration::ZERO).build().unwrap();
    let calls: Vec<_> = (0..3 * WORKERS).map(|_| pool.call(1_000_000)).collect();
    pool.kill().unwrap();
    assert!(calls.into_iter().all(|call| call.wait().is_err()));
    pool.finish().unwrap();
    drop(pool);
    before.is_again();
    println!("nothing is left");
}

/// Calls that wait cost little more than what is in them.
fn many_calls() {
    let count = 200_000;
    let before = Before::now();
    let pool = Pool::builder(nap).max(1).load(1).build().unwrap();
    // There is a worker, which has what it was sent.
    pool.call(0).wait().unwrap();
    let held = pool.call(1_000_000);
    let bytes = memory("self");
    let calls: Vec<_> = (0..count).map(|_| pool.call(0)).collect();
    let each = (memory("self") - bytes) / count;
    assert_eq!(pool.stats().queued as u64, count);
    assert!(each < 1500, "{each} bytes for each");
    // Those in the middle can be taken out, and all others are told.
    calls.iter().skip(1).step_by(2).for_each(|call| call.cancel());
    assert_eq!(pool.stats().queued as u64, count / 2);
    pool.kill().unwrap();
    assert!(held.wait().unwrap_err().is_disconnected());
    for (n, call) in calls.into_iter().enumerate() {
        let error = call.wait().unwrap_err();
        assert!(if n % 2 == 1 { error.is_cancelled() } else { error.is_pool_ended() });
    }
    let stats = pool.finish().unwrap();
    assert_eq!((stats.failed.cancelled, stats.failed.refused), (count / 2, count / 2));
    drop(pool);
    before.is_again();
    println!("{each} bytes for each");
}
