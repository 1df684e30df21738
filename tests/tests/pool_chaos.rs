//! Workers and templates are killed at random while there is work: each job is accounted
//! for once, and what is said of it is what happened.

use std::collections::VecDeque;
use std::fs::File;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use offshoot::pool::PoolBuilder;
use offshoot::testing::{Chaos, Harm};
use offshoot::{Args, Call, Done, Error, Pool};
use offshoot_tests::ledger::{self, Ledger, Terms};
use offshoot_tests::lying::Random;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

static SET_UP: AtomicBool = AtomicBool::new(false);

#[offshoot::setup]
fn set_up(_: Args) {
    SET_UP.store(true, Ordering::Relaxed);
}

const EXITS: i32 = 42;

/// Some jobs are bad for a worker.
fn exits(job: u32) -> bool {
    job % 4999 == 7
}

fn begin(log: &File, job: u32) {
    assert!(SET_UP.load(Ordering::Relaxed), "setup functions have run, again if need be");
    ledger::note(log, job);
    if exits(job) {
        std::process::exit(EXITS);
    }
}

#[offshoot::worker(init = ledger::open)]
fn sync(log: &mut File, job: u32) -> u32 {
    begin(log, job);
    !job
}

#[offshoot::worker(init = ledger::open)]
fn by_done(log: &mut File, done: Done<u32>, job: u32) {
    begin(log, job);
    done.complete(!job);
}

#[offshoot::worker(init = ledger::open)]
async fn by_await(log: Rc<File>, job: u32) -> u32 {
    begin(&log, job);
    if job.is_multiple_of(3) {
        tokio::task::yield_now().await;
    }
    !job
}

const RETRIES: u32 = 3;

struct Storm {
    jobs: u32,
    every: Duration,
    templates: u32,
    seed: u64,
}

/// Every third job may be made again.
fn is_idempotent(job: u32) -> bool {
    job % 3 == 1
}

type Told = Result<u32, Error>;

/// One thread's jobs, some of them on their way at once.
fn make(pool: &Pool<u32, u32>, jobs: impl Iterator<Item = u32>, seed: u64) -> Vec<(u32, Told)> {
    let mut random = Random::new(seed);
    let mut open: VecDeque<(u32, Call<u32>)> = VecDeque::new();
    let mut told = Vec::new();
    for job in jobs {
        let request = pool.request(job).priority(random.below(3) as i32);
        let request = if is_idempotent(job) { request.idempotent() } else { request };
        open.push_back((job, request.call()));
        while open.len() as u64 > 1 + random.below(100) {
            let (job, call) = open.pop_front().unwrap();
            told.push((job, call.wait()));
        }
    }
    told.extend(open.into_iter().map(|(job, call)| (job, call.wait())));
    told
}

/// Makes the jobs in three threads, with a map in the third; what was done, and what the
/// pool says of it.
fn ride_out(builder: PoolBuilder<u32, u32>, storm: &Storm, one_dies_at_a_time: bool) -> Harm {
    let ledger = Ledger::new();
    let pool = builder
        .template(ledger.template(set_up))
        .retry(RETRIES)
        // Those that are killed in their init function are no sign that all is lost.
        .restart(u32::MAX, Duration::from_secs(1))
        .backoff(Duration::ZERO, Duration::ZERO)
        .start(Duration::ZERO)
        .build()
        .unwrap();
    let chaos = Chaos::new(&pool).seed(storm.seed).every(storm.every);
    let chaos = chaos.kill_workers(20).kill_templates(storm.templates).start().unwrap();
    let jobs = storm.jobs;
    let (part, seed) = (jobs as usize / 3, storm.seed);
    let mut told = std::thread::scope(|s| {
        let others = [1, 2].map(|n| {
            let pool = &pool;
            s.spawn(move || make(pool, (0..jobs).skip(n).step_by(3), seed + n as u64))
        });
        let mapped = pool.map_unordered((0..jobs).step_by(3)).indexed();
        let mut told: Vec<_> = mapped.map(|(index, told)| (3 * index as u32, told)).collect();
        assert!(told.len() >= part);
        others.into_iter().for_each(|other| told.extend(other.join().unwrap()));
        told
    });
    let harm = chaos.stop();
    let stats = pool.finish().unwrap();
    told.sort_by_key(|(job, _)| *job);
    assert_eq!(told.len(), jobs as usize, "each is told once");
    let done = told.iter().filter(|(_, told)| told.is_ok()).count() as u64;
    let failed = u64::from(jobs) - done;
    assert_eq!((stats.done, stats.failed.total(), stats.failed.died), (done, failed, failed));
    assert_eq!((stats.queued, stats.running), (0, 0));
    assert_eq!(stats.wait.count(), u64::from(jobs));
    if one_dies_at_a_time {
        let deaths = stats.died + stats.failed_starts;
        assert!(failed + stats.retried <= deaths, "a death ends one call at most: {stats:?}");
    }
    let counts = ledger.counts(jobs as usize);
    for (index, (job, told)) in told.iter().enumerate() {
        assert_eq!(index as u32, *job);
        assert!(told.as_ref().is_ok_and(|answer| *answer == !job) || told.is_err());
        assert!(told.is_err() || !exits(*job));
        let terms = Terms {
            runs: if is_idempotent(*job) { 1 + RETRIES } else { 1 },
            exits: (exits(*job) || !one_dies_at_a_time).then_some(EXITS),
            // Two of them may be open at once.
            of_another: !exits(*job) || !one_dies_at_a_time,
            status_lost: storm.templates > 0,
        };
        ledger::check(index, told, counts[index], &terms);
    }
    println!("{harm:?}, {stats:?}");
    harm
}

#[test]
fn a_hundred_thousand_jobs_of_sync_workers_that_are_killed() {
    within(3 * DEADLINE, || {
        let every = Duration::from_millis(3);
        let storm = Storm { jobs: 100_000, every, templates: 0, seed: 1 };
        let harm = ride_out(Pool::builder(sync).load(8), &storm, true);
        assert!(harm.workers > 10, "{harm:?}");
    });
}

#[test]
fn a_hundred_thousand_jobs_while_templates_are_killed_too() {
    within(3 * DEADLINE, || {
        let every = Duration::from_millis(3);
        let storm = Storm { jobs: 100_000, every, templates: 2, seed: 2 };
        let harm = ride_out(Pool::builder(sync).load(8).spares(1), &storm, true);
        assert!(harm.workers > 10 && harm.templates > 1, "{harm:?}");
    });
}

#[test]
fn jobs_of_workers_with_done_that_are_killed() {
    within(3 * DEADLINE, || {
        let every = Duration::from_millis(3);
        let storm = Storm { jobs: 50_000, every, templates: 1, seed: 3 };
        let harm = ride_out(Pool::builder(by_done).load(16), &storm, false);
        assert!(harm.workers > 5, "{harm:?}");
    });
}

#[test]
fn jobs_of_async_workers_that_are_killed() {
    within(3 * DEADLINE, || {
        let every = Duration::from_millis(3);
        let storm = Storm { jobs: 50_000, every, templates: 1, seed: 4 };
        let harm = ride_out(Pool::builder(by_await).load(16), &storm, false);
        assert!(harm.workers > 5, "{harm:?}");
    });
}

#[test]
fn with_one_worker_and_one_call_at_a_time() {
    within(3 * DEADLINE, || {
        let every = Duration::from_millis(2);
        let storm = Storm { jobs: 20_000, every, templates: 2, seed: 5 };
        let harm = ride_out(Pool::builder(sync).max(1).load(1), &storm, true);
        assert!(harm.workers > 5, "{harm:?}");
    });
}
