//! How long a call may run: only that counts, and only that call is lost.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use offshoot::pool::PoolBuilder;
use offshoot::{Done, Fd, Pool};
use offshoot_tests::program::Watched;
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job)
}

/// Never answers an even job.
#[offshoot::worker(init = turnstile::enter)]
fn kept(at: &mut Passage, done: Done<u32>, job: u32) {
    let pid = at.begin(job);
    match job % 2 {
        0 => std::mem::forget(done),
        _ => done.complete(pid),
    }
}

fn hangs(mut passage: Passage) {
    passage.pass(u32::MAX);
}

fn enter_and_hang(queued: offshoot::RunArgs) {
    hangs(turnstile::enter(queued));
}

/// Its init function waits at the turnstile.
#[offshoot::worker(init = enter_and_hang)]
fn late(_: &mut (), job: u32) -> u32 {
    job
}

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

fn builder(turnstile: &Turnstile) -> PoolBuilder<u32, u32> {
    Pool::builder(held).template(turnstile.template()).load(1).start(Duration::ZERO)
}

/// Its only worker, which is ready.
fn worker_of(pool: &Pool<u32, u32>, turnstile: &Turnstile) -> Watched {
    turnstile.let_through(1);
    let pid = pool.request(9).timeout(LONG).call().wait().unwrap();
    Watched::new(pid)
}

#[test]
fn a_call_that_runs_too_long_is_lost_with_its_worker() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        // Long enough for another call to be made.
        let time = Duration::from_secs(1);
        let pool = builder(&turnstile).timeout(time).max(1).load(2).build().unwrap();
        let worker = worker_of(&pool, &turnstile);
        let hangs = pool.call(0);
        let behind = pool.request(1).timeout(LONG).call();
        let error = hangs.wait().unwrap_err();
        assert!(error.is_timeout() && !error.is_disconnected(), "{error}");
        assert!(error.to_string().contains("longer than it may"), "{error}");
        assert!(worker.gone_within(DEADLINE));
        turnstile.open();
        assert_ne!(behind.wait().unwrap(), worker.pid());
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.timed_out, stats.failed.total()), (2, 1, 1));
        assert_eq!((stats.died, stats.moved, stats.started), (1, 1, 2));
    });
}

#[test]
fn what_waits_is_not_given_to_a_worker_that_is_about_to_be_killed() {
    #[offshoot::worker]
    fn reads(from: Option<Fd>) -> String {
        match from {
            Some(from) => io::read_to_string(File::from(from.into_owned().unwrap())).unwrap(),
            None => loop {
                std::thread::park();
            },
        }
    }

    within(DEADLINE, || {
        let pool = Pool::builder(reads).max(1).load(1).build().unwrap();
        for cancelled in [false, true, false, true] {
            let ended = match cancelled {
                false => pool.request(None).timeout(SHORT).call(),
                true => pool.call(None),
            };
            // With a descriptor, it could not be given to another one after that.
            let (reader, mut writer) = io::pipe().unwrap();
            let waits = pool.call(Some(reader.into()));
            if cancelled {
                ended.cancel();
            }
            assert!(ended.wait().is_err());
            writer.write_all(b"read").unwrap();
            drop(writer);
            assert_eq!(waits.wait().unwrap(), "read");
        }
        let stats = pool.finish().unwrap();
        assert_eq!((stats.moved, stats.failed.timed_out, stats.failed.cancelled), (0, 2, 2));
    });
}

#[test]
fn nobody_needs_to_wait_for_a_call_to_be_late() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).timeout(SHORT).max(1).build().unwrap();
        let worker = worker_of(&pool, &turnstile);
        let hangs = pool.call(0).into_receiver();
        assert!(worker.gone_within(DEADLINE));
        assert!(hangs.recv().unwrap().unwrap_err().is_timeout());
    });
}

#[test]
fn a_call_can_have_a_time_of_its_own() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).timeout(SHORT).max(2).build().unwrap();
        let patient = pool.request(0).timeout(LONG).call();
        let (_, pid) = turnstile.next();
        // This one's time began later, and is over.
        assert!(pool.call(1).wait().unwrap_err().is_timeout());
        turnstile.open();
        assert_eq!(patient.wait().unwrap(), pid);

        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).timeout(LONG).build().unwrap();
        assert!(pool.request(0).timeout(SHORT).call().wait().unwrap_err().is_timeout());
        let pool = builder(&turnstile).build().unwrap();
        assert!(pool.request(0).timeout(SHORT).call().wait().unwrap_err().is_timeout());
    });
}

#[test]
fn one_with_less_time_may_come_after_one_with_more() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(1).load(3).build().unwrap();
        // Nobody waits: it is for the background thread to know when a call is late.
        let [patient, hasty, last] =
            [LONG, SHORT, LONG].map(|time| pool.request(1).timeout(time).call().into_receiver());
        let (_, pid) = turnstile.next();
        let worker = Watched::new(pid);
        turnstile.let_through(1);
        assert_eq!(patient.recv().unwrap().unwrap(), pid);
        assert!(hasty.recv().unwrap().unwrap_err().is_timeout());
        // Else that call might be done, and the next one begun, before the kill.
        assert!(worker.gone_within(DEADLINE));
        turnstile.open();
        last.recv().unwrap().unwrap();
        // And it is known anew for each.
        for _ in 0..5 {
            pool.request(1).timeout(LONG).call().into_receiver().recv().unwrap().unwrap();
        }
        let turnstile = Turnstile::new();
        pool.reload(turnstile.template()).unwrap();
        let hasty = pool.request(1).timeout(SHORT).call().into_receiver();
        assert!(hasty.recv().unwrap().unwrap_err().is_timeout());
    });
}

#[test]
fn of_an_asynchronous_worker_too() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = Pool::builder(kept).template(turnstile.template()).max(1).load(9);
        let pool = pool.build().unwrap();
        let calls = [LONG, SHORT, LONG, 2 * SHORT, SHORT]
            .map(|time| pool.request(0).timeout(time).call().into_receiver());
        for hasty in [1, 3, 4] {
            assert!(calls[hasty].recv().unwrap().unwrap_err().is_timeout());
        }
        assert!(calls[0].is_empty() && calls[2].is_empty());
        pool.kill().unwrap();
    });
}

#[test]
fn what_a_call_waits_does_not_count() {
    within(DEADLINE, || {
        let time = Duration::from_secs(2);
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).timeout(time).max(1).load(2).build().unwrap();
        let running = pool.request(0).timeout(LONG).call();
        let (in_the_worker, queued) = (pool.call(1), pool.call(2));
        assert_eq!((pool.stats().running, pool.stats().queued), (2, 1));
        // One that was made later, and does not have to wait.
        let other = Turnstile::new();
        let clock = builder(&other).timeout(time).build().unwrap();
        assert!(clock.call(0).wait().unwrap_err().is_timeout());
        turnstile.open();
        for call in [running, in_the_worker, queued] {
            call.wait().unwrap();
        }
        assert_eq!(pool.finish().unwrap().failed.total(), 0);
    });
}

#[test]
fn an_asynchronous_worker_outlives_its_late_calls() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = Pool::builder(kept).template(turnstile.template()).max(1).load(4);
        let pool = pool.build().unwrap();
        // It is ready.
        turnstile.let_through(1);
        pool.request(9).timeout(LONG).call().wait().unwrap();
        let calls: Vec<_> = (0..6).map(|job| pool.request(job).timeout(SHORT).call()).collect();
        let mut pids = Vec::new();
        for (job, call) in calls.into_iter().enumerate() {
            match (job % 2, call.wait()) {
                (0, told) => assert!(told.unwrap_err().is_timeout()),
                (_, Ok(pid)) => pids.push(pid),
                // On a machine that is busy enough, any call is late.
                (_, Err(error)) => assert!(error.is_timeout(), "{error}"),
            }
        }
        assert!(pids.windows(2).all(|two| two[0] == two[1]), "{pids:?}");
        let stats = pool.stats();
        assert_eq!((stats.died, stats.started, stats.running), (0, 1, 0));
        assert!(stats.failed.timed_out >= 3 && stats.failed.timed_out == stats.failed.total());
    });
}

#[test]
fn a_call_whose_worker_does_not_get_ready_in_time_is_late() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = Pool::builder(late).template(turnstile.template()).max(1).timeout(SHORT);
        let pool = pool.build().unwrap();
        let error = pool.call(0).wait().unwrap_err();
        assert!(error.is_timeout(), "{error}");
        eventually(DEADLINE, "it has been killed", || pool.pids().is_empty());
        turnstile.open();
        assert_eq!(pool.request(1).timeout(LONG).call().wait().unwrap(), 1);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed_starts, stats.died), (1, 0));
    });
}
