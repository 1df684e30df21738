//! Workers that cannot start: how often that is tried, what those who call are told, and
//! how it is mended.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use offshoot::pool::PoolBuilder;
use offshoot::{Error, Pool, Process, RunArgs};
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

/// What becomes of a worker is said by its template.
fn troubled(queued: RunArgs) -> Result<(), String> {
    match &queued.args[..] {
        [] => Ok(()),
        [how, ..] => match &how[..] {
            b"exit" => std::process::exit(7),
            b"panic" => panic!("nothing is left"),
            b"err" => Err("there is no table `users`".to_owned()),
            how => unreachable!("{how:?}"),
        },
    }
}

#[offshoot::worker(init = troubled)]
fn double(_: &mut (), n: u32) -> u32 {
    2 * n
}

/// The first worker is well, and no other.
fn only_one(mut queued: RunArgs) -> Passage {
    let mut count = File::from(queued.fds.pop().unwrap());
    count.write_all(&[0]).unwrap();
    if count.stream_position().unwrap() > 1 {
        std::process::exit(1);
    }
    turnstile::enter(queued)
}

#[offshoot::worker(init = only_one)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job)
}

#[offshoot::worker]
fn own_pid() -> u32 {
    std::process::id()
}

fn template(how: &str) -> Process {
    Process::new().unwrap().send_arg(how)
}

/// One worker at a time.
fn builder(how: &str) -> PoolBuilder<u32, u32> {
    Pool::builder(double).template(template(how)).max(1).restart(3, DEADLINE).backoff(MS, MS)
}

const MS: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::from_secs(3600);

fn broken(pool: &Pool<u32, u32>) -> Error {
    let error = pool.call(1).wait().unwrap_err();
    assert!(error.is_pool_broken() && !error.is_pool_ended(), "{error}");
    error
}

#[test]
fn a_pool_whose_workers_cannot_start_breaks_and_says_why() {
    within(DEADLINE, || {
        for (how, why, is_init) in [
            ("exit", "the worker process has ended: exit status: 7", false),
            ("err", "could not be initialised: there is no table `users`", true),
            ("panic", "could not be initialised: it panicked at ", true),
        ] {
            let (tells, told) = mpsc::channel();
            let on_error = move |error: Error| drop(tells.send(error));
            let pool = builder(how).on_error(on_error).build().unwrap();
            let error = broken(&pool);
            assert_eq!(error.is_init(), is_init, "{error}");
            let text = error.to_string();
            assert!(
                text.starts_with(
                    "the pool is broken: workers died before they were ready, 3 in a row"
                ),
                "{text}"
            );
            assert!(text.contains(why), "{text}");
            assert!(text.ends_with("`reload` begins anew"), "{text}");
            assert_eq!(pool.stats().failed_starts, 3);
            for _ in 0..3 {
                let error = told.recv().unwrap();
                assert!(error.is_init() == is_init && error.is_disconnected() != is_init);
                assert!(error.to_string().contains(why), "{error}");
            }
            let stats = pool.finish().unwrap();
            drop(pool);
            assert!(told.recv().is_err(), "one for each");
            assert_eq!((stats.failed_starts, stats.died, stats.failed.refused), (3, 0, 1));
        }
    });
}

#[test]
fn one_failed_start_can_be_enough() {
    within(DEADLINE, || {
        for how in ["exit", "err"] {
            let pool = builder(how).restart(1, DEADLINE).build().unwrap();
            let text = broken(&pool).to_string();
            assert!(
                text.starts_with(
                    "the pool is broken: workers died before they were ready, 1 in a row"
                ),
                "{text}"
            );
            assert!(!text.contains("the call"), "which call was lost with it is no reason: {text}");
            assert_eq!(pool.stats().failed_starts, 1);
        }
    });
}

#[test]
fn a_broken_pool_refuses_whatever_is_asked_of_it_until_it_is_reloaded() {
    within(DEADLINE, || {
        let pool = builder("err").build().unwrap();
        let queued: Vec<_> = (0..20).map(|n| pool.call(n)).collect();
        assert!(queued.into_iter().all(|call| call.wait().unwrap_err().is_pool_broken()));
        let refused = pool.try_call(5).unwrap_err();
        assert!(refused.is_pool_broken() && refused.args == 5);
        let mapped: Vec<_> = pool.map(0..5).collect();
        assert_eq!(mapped.len(), 5);
        assert!(mapped.into_iter().all(|result| result.unwrap_err().is_pool_broken()));
        assert!(pool.broadcast(1).unwrap().is_empty(), "there is nobody");
        assert_eq!(pool.stats().failed_starts, 3, "it does not try again by itself");
        // No better.
        pool.reload(template("exit")).unwrap();
        assert!(broken(&pool).to_string().contains("exit status: 7"));
        assert_eq!(pool.stats().failed_starts, 6);
        pool.reload(Process::new().unwrap()).unwrap();
        assert_eq!(pool.call(4).wait().unwrap(), 8);
        assert!(pool.map(0..5).all(|result| result.is_ok()));
    });
}

#[test]
fn what_lies_longer_ago_than_the_period_is_forgotten() {
    within(DEADLINE, || {
        let pool = builder("exit").restart(3, Duration::ZERO).build().unwrap();
        let call = pool.call(1);
        eventually(DEADLINE, "it goes on and on", || pool.stats().failed_starts > 8);
        pool.kill().unwrap();
        let error = call.wait().unwrap_err();
        assert!(error.is_pool_ended() && !error.is_pool_broken(), "{error}");
    });
}

#[test]
fn between_two_tries_is_a_pause_that_grows_up_to_a_limit() {
    within(DEADLINE, || {
        // 1 + 2 + 4 + … ms: this one has sixteen starts before it, and half a minute.
        let growing = builder("exit").restart(16, DEADLINE).backoff(MS, NEVER).build().unwrap();
        let first = growing.call(1);
        // Fifteen times two milliseconds.
        let limited = builder("exit").restart(16, DEADLINE).backoff(MS, 2 * MS).build().unwrap();
        broken(&limited);
        assert_eq!(limited.stats().failed_starts, 16);
        assert!(growing.stats().failed_starts < 16, "{:?}", growing.stats());
        growing.kill().unwrap();
        assert!(first.wait().unwrap_err().is_pool_ended());

        let begun = Instant::now();
        let slow = builder("exit").backoff(50 * MS, NEVER).build().unwrap();
        broken(&slow);
        assert!(begun.elapsed() >= 150 * MS, "50 and 100, between three starts");
    });
}

#[test]
fn with_a_worker_that_is_well_a_pool_is_not_broken() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let count = tempfile::tempfile().unwrap();
        let template = turnstile.template().send_fd(OwnedFd::from(count.try_clone().unwrap()));
        let pool = Pool::builder(held).template(template).max(2).load(1).start(Duration::ZERO);
        let pool = pool.restart(2, DEADLINE).backoff(MS, MS).build().unwrap();
        let first = pool.call(0);
        let (_, pid) = turnstile.next();
        let second = pool.call(1);
        eventually(DEADLINE, "the others fail", || pool.stats().failed_starts > 4);
        turnstile.open();
        assert_eq!([first, second].map(|call| call.wait().unwrap()), [pid; 2]);
        pool.finish().unwrap();
        let mut starts = Vec::new();
        (&count).seek(SeekFrom::Start(0)).unwrap();
        (&count).read_to_end(&mut starts).unwrap();
        assert!(starts.len() > 5);
    });
}

#[test]
fn init_arguments_of_the_wrong_type_are_refused_before_anything_is_started() {
    fn from(_: RunArgs, _: (u32, String)) {}
    #[offshoot::worker(init = from)]
    fn initialised(_: &mut (), n: u32) -> u32 {
        n
    }

    within(DEADLINE, || {
        let builder = || Pool::builder(initialised);
        builder().init((1u32, String::new())).build().unwrap();
        let wrong = builder().init((1u64, String::new())).build().unwrap_err();
        let missing = builder().build().unwrap_err();
        let needless = Pool::builder(own_pid).init(5u8).build().unwrap_err();
        for (error, says) in [
            (wrong, "takes a (u32, alloc::string::String), and not a (u64, alloc::string::String)"),
            (missing, "takes a (u32, alloc::string::String): give it by `init`"),
            (needless, "own_pid` takes a (), and not a u8"),
        ] {
            assert!(error.is_init() && error.to_string().contains(says), "{error}");
        }
    });
}
