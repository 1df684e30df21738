//! Workers that are replaced before they rot: after so many calls, so much time or memory,
//! or when they say so; and no more of them at a time than may be.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use offshoot::pool::{PoolBuilder, retire};
use offshoot::{Pool, Process};
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

#[offshoot::worker]
fn own_pid() -> u32 {
    std::process::id()
}

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job)
}

/// Passes twice, and retires where it is told to; whether that was heard.
#[offshoot::worker(init = turnstile::enter)]
fn retires(at: &mut Passage, job: u32, when: When) -> (u32, bool) {
    at.pass(job);
    let heard = match when {
        When::Between => retire(),
        When::ByThread => std::thread::spawn(retire).join().unwrap(),
        When::Never | When::Last => false,
    };
    let pid = at.pass(job);
    (pid, heard || (matches!(when, When::Last) && retire()))
}

#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
enum When {
    Never,
    Between,
    ByThread,
    Last,
}

#[offshoot::worker]
fn retires_at_once() -> (u32, bool) {
    (std::process::id(), retire())
}

fn nothing_yet() -> Vec<Vec<u8>> {
    Vec::new()
}

/// Takes so many bytes, and keeps them if it is to.
#[offshoot::worker(init = nothing_yet)]
fn grows(kept: &mut Vec<Vec<u8>>, bytes: usize, keep: bool) -> u32 {
    let taken = black_box(vec![1; bytes]);
    if keep {
        kept.push(taken);
    }
    std::process::id()
}

const MB: usize = 1 << 20;

fn builder(turnstile: &Turnstile) -> PoolBuilder<u32, u32> {
    Pool::builder(held).template(turnstile.template()).load(1).start(Duration::ZERO)
}

/// How many calls in a row had the same answer.
fn runs(pids: &[u32]) -> Vec<usize> {
    pids.chunk_by(|a, b| a == b).map(<[u32]>::len).collect()
}

fn distinct(pids: &[u32]) -> usize {
    pids.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn a_worker_is_recycled_after_max_jobs() {
    within(DEADLINE, || {
        let pool = Pool::builder(own_pid).max(1).max_jobs(3).build().unwrap();
        let pids: Vec<u32> = (0..9).map(|_| pool.call(()).wait().unwrap()).collect();
        assert_eq!((runs(&pids), distinct(&pids)), (vec![3; 3], 3));
        let stats = pool.finish().unwrap();
        assert_eq!((stats.started, stats.ended, stats.died), (3, 3, 0));
    });
}

#[test]
fn what_a_worker_has_when_it_has_enough_it_still_does() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(1).load(2).max_jobs(2).build().unwrap();
        let calls: Vec<_> = (0..4).map(|job| pool.call(job)).collect();
        // The last that it gets makes room for another.
        let stats = pool.stats();
        assert_eq!((stats.started, stats.running, stats.queued), (2, 4, 0));
        assert_eq!(turnstile.next_of(2).0, [0, 2]);
        turnstile.open();
        let pids: Vec<u32> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
        assert_eq!((runs(&pids), distinct(&pids)), (vec![2; 2], 2));
        assert_eq!(pool.finish().unwrap().failed.total(), 0);
    });
}

#[test]
fn with_jitter_not_all_get_the_same_number_of_calls() {
    within(DEADLINE, || {
        let pool = Pool::builder(own_pid).max(1).max_jobs(8).jitter(0.5).build().unwrap();
        let pids: Vec<u32> = (0..200).map(|_| pool.call(()).wait().unwrap()).collect();
        let mut runs = runs(&pids);
        // The last one could have had more.
        runs.pop();
        assert!(runs.iter().all(|calls| (4..=8).contains(calls)), "{runs:?}");
        assert!(runs.iter().any(|calls| *calls != runs[0]), "{runs:?}");
    });
}

#[test]
fn a_worker_is_recycled_when_it_is_too_old_even_if_it_is_idle() {
    within(DEADLINE, || {
        let pool = Pool::builder(own_pid).max(1).idle(1).max_age(Duration::from_millis(30));
        let pool = pool.build().unwrap();
        let first = pool.call(()).wait().unwrap();
        eventually(DEADLINE, "another has taken its place", || {
            let pids = pool.pids();
            pids.len() == 1 && pids[0] != first
        });
        assert_ne!(pool.call(()).wait().unwrap(), first);
        assert!(pool.stats().ended >= 1);
    });
}

#[test]
fn a_worker_that_is_too_old_does_what_it_has() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(1).max_age(Duration::from_millis(20)).build().unwrap();
        let call = pool.call(0);
        let (_, pid) = turnstile.next();
        eventually(DEADLINE, "its time has come", || pool.stats().retiring == 1);
        turnstile.open();
        assert_eq!(call.wait().unwrap(), pid);
        assert_ne!(pool.call(1).wait().unwrap(), pid);
        assert_eq!(pool.finish().unwrap().failed.total(), 0);
    });
}

#[test]
fn a_worker_that_has_grown_is_recycled_and_one_that_has_shrunk_again_is_not() {
    within(DEADLINE, || {
        let pool = Pool::builder(grows).max(1).max_memory(64 * MB as u64).build().unwrap();
        let call = |bytes, keep| pool.call((bytes, keep)).wait().unwrap();
        let small = [call(0, true), call(MB, true), call(128 * MB, false), call(0, true)];
        assert_eq!(distinct(&small), 1, "{small:?}");
        assert_eq!(call(128 * MB, true), small[0]);
        assert_ne!(call(0, true), small[0]);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.started, stats.ended, stats.died), (2, 2, 0));
        assert!(stats.peak_memory > 128 * MB as u64, "{}", stats.peak_memory);
    });
}

#[test]
fn no_more_than_max_recycling_are_away_at_once() {
    within(DEADLINE, || {
        for (most, retiring) in [(1, 1), (2, 2), (usize::MAX, 3)] {
            let turnstile = Turnstile::new();
            let pool = builder(&turnstile).max(3).max_jobs(1).max_recycling(most).build().unwrap();
            let calls: Vec<_> = (0..3).map(|job| pool.call(job)).collect();
            turnstile.next_of(3);
            let stats = pool.stats();
            // It may not be known yet that they are ready.
            assert_eq!((stats.retiring, stats.busy + stats.starting), (retiring, 3 - retiring));
            turnstile.open();
            assert!(calls.into_iter().all(|call| call.wait().is_ok()));
            // All have had their turn, and others take calls.
            assert!((0..6).all(|job| pool.call(job).wait().is_ok()));
            let stats = pool.finish().unwrap();
            assert_eq!((stats.done, stats.ended), (9, stats.started));
        }
    });
}

fn retiring(turnstile: &Turnstile) -> Pool<(u32, When), (u32, bool)> {
    let pool = Pool::builder(retires).template(turnstile.template()).max(1).load(2);
    pool.start(Duration::ZERO).build().unwrap()
}

#[test]
fn a_worker_that_retires_does_what_it_has_and_takes_no_more() {
    within(DEADLINE, || {
        for when in [When::Between, When::ByThread] {
            let turnstile = Turnstile::new();
            let pool = retiring(&turnstile);
            let [first, behind] = [(0, when), (1, When::Never)].map(|args| pool.call(args));
            let (_, pid) = turnstile.next();
            turnstile.let_through(1);
            eventually(DEADLINE, "the pool has been told", || pool.stats().retiring == 1);
            let later = pool.call((2, When::Never));
            assert_eq!((pool.stats().started, pool.stats().running), (2, 3));
            turnstile.open();
            assert_eq!(first.wait().unwrap(), (pid, true));
            assert_eq!(behind.wait().unwrap(), (pid, false));
            assert_ne!(later.wait().unwrap().0, pid);
            let stats = pool.finish().unwrap();
            assert_eq!((stats.ended, stats.died, stats.failed.total()), (2, 0, 0));
        }
    });
}

#[test]
fn a_worker_that_retires_at_the_end_of_a_call_gets_no_other() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        turnstile.open();
        let pool = retiring(&turnstile);
        let answers: Vec<(u32, bool)> =
            (0..20).map(|job| pool.call((job, When::Last)).wait().unwrap()).collect();
        assert!(answers.iter().all(|(_, heard)| *heard));
        let pids: Vec<u32> = answers.into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(distinct(&pids), 20, "each is a worker's only one: {pids:?}");
    });
}

#[test]
fn retiring_means_nothing_to_one_that_is_in_no_pool() {
    within(DEADLINE, || {
        assert!(!retire());
        let rpc = Process::new().unwrap().rpc(retires_at_once).start().unwrap();
        let first = rpc.call(()).wait().unwrap();
        assert_eq!((first.1, rpc.call(()).wait().unwrap()), (false, first));
    });
}
