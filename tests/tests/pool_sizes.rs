//! How many workers a pool has: `max`, `idle`, `load`, `start`, `stop`, `spares`, `resize`.

use std::collections::BTreeSet;
use std::time::Duration;

use crossbeam_channel::select;
use offshoot::pool::PoolBuilder;
use offshoot::{Call, Pool, Process};
use offshoot_tests::entries::answers;
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, eventually, parent_of, proc, within};

offshoot::early!();

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job)
}

#[offshoot::worker]
fn own_pid() -> u32 {
    std::process::id()
}

const NEVER: Duration = Duration::from_secs(3600);

/// Workers are started at once, and get one job at a time.
fn builder(turnstile: &Turnstile) -> PoolBuilder<u32, u32> {
    Pool::builder(held).template(turnstile.template()).load(1).start(Duration::ZERO).stop(NEVER)
}

fn calls(pool: &Pool<u32, u32>, jobs: std::ops::Range<u32>) -> Vec<Call<u32>> {
    jobs.map(|job| pool.call(job)).collect()
}

fn pids(calls: Vec<Call<u32>>) -> Vec<u32> {
    calls.into_iter().map(|call| call.wait().unwrap()).collect()
}

fn distinct(pids: &[u32]) -> usize {
    pids.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn there_are_no_more_workers_than_max() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(2).build().unwrap();
        let calls = calls(&pool, 0..5);
        let stats = pool.stats();
        assert_eq!((stats.started, stats.running, stats.queued), (2, 2, 3));
        let (jobs, first) = turnstile.next_of(2);
        assert_eq!((jobs, distinct(&first)), (vec![0, 1], 2));
        turnstile.open();
        let pids = pids(calls);
        assert!(pids.iter().all(|pid| first.contains(pid)), "{pids:?}, of {first:?}");
        assert_eq!(pool.finish().unwrap().started, 2);
    });
}

#[test]
fn a_worker_is_given_as_many_calls_as_load_says() {
    within(DEADLINE, || {
        for load in [1, 3] {
            let turnstile = Turnstile::new();
            let pool = builder(&turnstile).max(1).load(load).build().unwrap();
            let calls = calls(&pool, 0..5);
            let stats = pool.stats();
            assert_eq!((stats.running, stats.queued), (load, 5 - load));
            turnstile.open();
            assert_eq!(distinct(&pids(calls)), 1);
        }
    });
}

#[test]
fn load_is_how_many_an_asynchronous_worker_runs_at_once() {
    #[offshoot::worker]
    fn kept(done: offshoot::Done<u32>, job: u32) {
        static KEPT: std::sync::Mutex<Vec<offshoot::Done<u32>>> = std::sync::Mutex::new(Vec::new());
        let mut kept = KEPT.lock().unwrap();
        kept.push(done);
        // The third answers for all: so there have to be three at once.
        if kept.len() == 3 {
            kept.drain(..).for_each(|done| done.complete(job));
        }
    }

    within(DEADLINE, || {
        let pool = Pool::builder(kept).max(1).load(3).build().unwrap();
        let calls: Vec<_> = (0..6).map(|job| pool.call(job)).collect();
        let answers: Vec<u32> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
        assert_eq!(answers, [2, 2, 2, 5, 5, 5]);
    });
}

#[test]
fn another_worker_is_started_when_calls_have_waited_for_as_long_as_start_says() {
    within(DEADLINE, || {
        let ends: [Turnstile; 3] = Default::default();
        let patient = builder(&ends[0]).start(NEVER).build().unwrap();
        // A tenth of a second: a clock for the one before it.
        let usual = Pool::builder(held).template(ends[1].template()).load(1).build().unwrap();
        let hasty = builder(&ends[2]).start(Duration::ZERO).build().unwrap();
        let calls = [&patient, &usual, &hasty].map(|pool| calls(pool, 0..4));
        assert_eq!(hasty.stats().started, 4);
        // Which jobs these are depends on which worker is the quicker one.
        let [one, other] = [ends[1].next().1, ends[1].next().1];
        assert_ne!(one, other);
        // Had it a delay of that length, it would have been its turn before.
        assert_eq!(patient.stats().started, 1);
        ends.iter().for_each(Turnstile::open);
        let [patient, _, hasty] = calls.map(pids);
        assert_eq!((distinct(&patient), distinct(&hasty)), (1, 4));
    });
}

#[test]
fn idle_workers_are_ended_after_stop_and_no_sooner() {
    within(DEADLINE, || {
        // Ten seconds.
        let usual = Pool::builder(own_pid).build().unwrap();
        let quick = Pool::builder(own_pid).stop(Duration::from_millis(20)).build().unwrap();
        usual.call(()).wait().unwrap();
        quick.call(()).wait().unwrap();
        eventually(DEADLINE, "it has ended", || quick.pids().is_empty());
        assert_eq!(quick.stats().ended, 1);
        // It has been idle for longer.
        assert_eq!((usual.pids().len(), usual.stats().idle), (1, 1));
    });
}

#[test]
fn idle_workers_are_started_in_advance_and_kept() {
    within(DEADLINE, || {
        let pool = Pool::builder(own_pid).max(5).idle(2).stop(Duration::ZERO);
        let pool = pool.start(Duration::ZERO).build().unwrap();
        eventually(DEADLINE, "both are ready", || pool.stats().idle == 2);
        let kept: BTreeSet<u32> = pool.pids().into_iter().collect();
        let pids: Vec<u32> = (0..10).map(|_| pool.call(()).wait().unwrap()).collect();
        assert!(pids.iter().any(|pid| kept.contains(pid)), "{pids:?}, and {kept:?} are kept");
        eventually(DEADLINE, "no more are kept", || {
            let stats = pool.stats();
            (stats.idle, stats.starting + stats.busy + stats.retiring) == (2, 0)
        });
        assert_eq!(pool.pids().len(), 2);
    });
}

#[test]
fn the_most_recently_used_worker_gets_the_next_call_and_the_others_end() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(2).build().unwrap();
        let [one, two] = [0, 1].map(|job| pool.call(job).into_receiver());
        turnstile.next_of(2);
        turnstile.let_through(1);
        let other = select! { recv(one) -> _ => &two, recv(two) -> _ => &one };
        turnstile.let_through(1);
        let last = other.recv().unwrap().unwrap();
        for job in 2..10 {
            turnstile.let_through(1);
            assert_eq!(pool.call(job).wait().unwrap(), last, "job {job}");
        }
    });
}

#[test]
fn a_call_goes_to_the_worker_that_has_the_fewest() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(2).load(3).build().unwrap();
        // The first worker gets three; then the second is started.
        let calls = calls(&pool, 0..4);
        let (jobs, pids) = turnstile.next_of(2);
        assert_eq!(jobs, [0, 3]);
        let [fifth, sixth] = [4, 5].map(|job| pool.call(job));
        assert_eq!((pool.stats().running, pool.stats().queued), (6, 0));
        turnstile.open();
        for (call, pid) in calls.into_iter().zip([pids[0], pids[0], pids[0], pids[1]]) {
            assert_eq!(call.wait().unwrap(), pid);
        }
        assert_eq!([fifth.wait().unwrap(), sixth.wait().unwrap()], [pids[1]; 2]);
    });
}

#[test]
fn a_spare_is_a_process_that_was_there_before_its_first_call() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).spares(2).build().unwrap();
        eventually(DEADLINE, "they are there", || pool.stats().spares == 2);
        assert_eq!(pool.stats().started, 0);
        assert!(pool.pids().is_empty(), "they are no workers yet");
        turnstile.let_through(1);
        let first = pool.call(0).wait().unwrap();
        eventually(DEADLINE, "it was replaced", || pool.stats().spares == 2);
        // What a template was asked for before has been forked when this one has.
        answers(Process::new().unwrap());
        let there = proc::children_of(parent_of(first).unwrap());
        let calls = calls(&pool, 1..3);
        assert_eq!(pool.stats().started, 2);
        turnstile.open();
        let second = pids(calls)[1];
        assert!(second != first && there.contains(&second), "{second} is none of {there:?}");
    });
}

#[test]
fn a_pool_is_resized_while_it_works() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(1).build().unwrap();
        let calls = calls(&pool, 0..6);
        assert_eq!((pool.stats().running, pool.stats().queued), (1, 5));
        pool.resize(3);
        assert_eq!((pool.stats().running, pool.stats().queued), (3, 3));
        let (jobs, pids_of_three) = turnstile.next_of(3);
        assert_eq!((jobs, distinct(&pids_of_three)), (vec![0, 1, 2], 3));
        pool.resize(0);
        let stats = pool.stats();
        // It may not be known yet that they are ready.
        let taking = stats.busy + stats.starting;
        assert_eq!((taking, stats.retiring), (1, 2), "one is the least");
        turnstile.open();
        let pids = pids(calls);
        assert_eq!((distinct(&pids[..3]), distinct(&pids[3..])), (3, 1));
        assert!(pids_of_three.contains(&pids[5]));
        eventually(DEADLINE, "the others are gone", || pool.pids() == [pids[5]]);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.started, stats.ended, stats.died), (3, 3, 0));
    });
}

#[test]
fn a_size_that_no_machine_has_is_taken_as_many() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        turnstile.open();
        let pool = builder(&turnstile).load(2).start(Duration::MAX).build().unwrap();
        for max in [usize::MAX, 1 << (usize::BITS - 1)] {
            pool.resize(max);
            assert!(pool.map(0..10).all(|pid| pid.is_ok()), "{max}");
        }
        assert_eq!(pool.finish().unwrap().done, 20);
    });
}
