//! How long calls waited and ran, as the figures of a pool have it: what did not run did so
//! for no time at all.

use std::thread::sleep;
use std::time::{Duration, Instant};

use offshoot::testing::kill_template;
use offshoot::{Args, Pool};
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job)
}

#[offshoot::worker]
fn own_pid() -> u32 {
    std::process::id()
}

#[offshoot::setup]
fn held_up(_: Args) {
    turnstile::enter(offshoot::run_args()).pass(0);
}

/// What was measured from `since` on, if that can be seen.
fn some_time(since: Instant) -> Duration {
    sleep(Duration::from_millis(40));
    since.elapsed()
}

#[test]
fn a_call_that_is_cancelled_behind_another_one_has_not_run_and_takes_no_time_from_that() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = Pool::builder(held).template(turnstile.template()).max(1).load(2);
        let pool = pool.build().unwrap();
        let running = pool.call(0);
        let (_, pid) = turnstile.next();
        let behind = pool.call(1);
        let begun = Instant::now();
        assert_eq!(pool.stats().running, 2, "both are in the worker");
        let waited = some_time(begun);
        behind.cancel();
        assert!(behind.wait().unwrap_err().is_cancelled());
        let stats = pool.stats();
        assert_eq!((stats.run.count(), stats.run.max()), (1, Duration::ZERO));
        assert_eq!(stats.wait.count(), 1);
        let ran = begun.elapsed();
        assert!(stats.wait.max() >= waited, "{:?}", stats.wait);
        turnstile.open();
        assert_eq!(running.wait().unwrap(), pid);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.run.count(), stats.wait.count()), (2, 2));
        assert!(stats.run.max() >= ran, "{:?}, and it ran for {ran:?} at least", stats.run);
    });
}

#[test]
fn a_call_that_is_cancelled_before_its_worker_is_there_has_only_waited() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        turnstile.let_through(1);
        let template = turnstile.template().setup(held_up, [""; 0]);
        let pool = Pool::builder(own_pid).template(template).max(1).build().unwrap();
        turnstile.next();
        kill_template(&pool).unwrap();
        let call = pool.call(());
        let made = Instant::now();
        turnstile.next();
        assert_eq!(pool.stats().running, 1, "it waits for a worker that waits for its template");
        let waited = some_time(made);
        call.cancel();
        turnstile.open();
        assert!(call.wait().unwrap_err().is_cancelled());
        let stats = pool.finish().unwrap();
        assert_eq!((stats.run.count(), stats.run.max()), (1, Duration::ZERO));
        assert!(stats.wait.max() >= waited, "{:?}, and not {waited:?}", stats.wait);
        assert_eq!((stats.templates, stats.failed.cancelled), (1, 1));
    });
}
