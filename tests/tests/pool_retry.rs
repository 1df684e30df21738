//! What becomes of a call whose worker dies: its error, or another try.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use offshoot::pool::PoolBuilder;
use offshoot::{Args, Pool};
use offshoot_tests::ledger::{self, Ledger};
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

#[offshoot::setup]
fn set_up(_: Args) {}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum End {
    Exits,
    Aborts,
    Panics,
    Stays,
}

/// Notes the job, and ends in that way as long as it was noted no more often than `times`.
#[offshoot::worker(init = ledger::open)]
fn ends(log: &mut File, job: u32, end: End, times: u64) -> u32 {
    ledger::note(log, job);
    if log.metadata().unwrap().len() / 4 > times {
        return std::process::id();
    }
    match end {
        End::Exits => std::process::exit(5),
        End::Aborts => std::process::abort(),
        End::Panics => panic!("no more"),
        End::Stays => loop {
            std::thread::park();
        },
    }
}

fn builder(ledger: &Ledger) -> PoolBuilder<(u32, End, u64), u32> {
    Pool::builder(ends).template(ledger.template(set_up)).max(1).load(1)
}

#[test]
fn a_call_that_kills_its_worker_is_lost_and_says_how() {
    within(DEADLINE, || {
        let ledger = Ledger::new();
        let pool = builder(&ledger).build().unwrap();
        let error = pool.call((0, End::Exits, 1)).wait().unwrap_err();
        assert!(error.is_disconnected() && !error.is_panic(), "{error}");
        assert_eq!(error.exit_status().and_then(|s| s.code()), Some(5));
        assert_eq!((error.was_started(), error.killed_because()), (Some(true), None));
        assert!(error.peak_memory().is_some_and(|bytes| bytes > 100_000), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("exit status: 5") && text.contains("was running"), "{text}");
        let error = pool.call((0, End::Aborts, 2)).wait().unwrap_err();
        assert_eq!(error.exit_status().and_then(|s| s.signal()), Some(libc::SIGABRT));
        assert!(error.to_string().contains("SIGABRT"), "{error}");
        assert_eq!(ledger.counts(1), [2]);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed.died, stats.died, stats.retried), (2, 2, 0));
    });
}

#[test]
fn an_idempotent_call_is_made_again() {
    within(DEADLINE, || {
        for (retries, dies) in [(1, 1), (3, 3)] {
            let ledger = Ledger::new();
            let pool = builder(&ledger).retry(retries).build().unwrap();
            let call = pool.request((0, End::Exits, dies)).idempotent().call();
            call.wait().unwrap();
            assert_eq!(u64::from(ledger.counts(1)[0]), dies + 1);
            let stats = pool.finish().unwrap();
            assert_eq!((stats.done, stats.failed.total(), stats.retried), (1, 0, dies));
        }
    });
}

#[test]
fn it_is_made_again_only_so_often() {
    within(DEADLINE, || {
        // Once, unless said otherwise.
        for (retry, begun) in [(Some(0), 1), (None, 2), (Some(2), 3)] {
            let ledger = Ledger::new();
            let pool = builder(&ledger);
            let pool = match retry {
                Some(times) => pool.retry(times),
                None => pool,
            };
            let pool = pool.build().unwrap();
            let call = pool.request((0, End::Exits, 9)).idempotent().call();
            let error = call.wait().unwrap_err();
            assert_eq!(error.exit_status().and_then(|s| s.code()), Some(5), "{error}");
            assert_eq!(ledger.counts(1), [begun]);
            let stats = pool.finish().unwrap();
            assert_eq!((stats.failed.died, stats.retried), (1, u64::from(begun) - 1));
        }
    });
}

#[test]
fn other_calls_are_not_made_again() {
    within(DEADLINE, || {
        let ledger = Ledger::new();
        let pool = builder(&ledger).retry(9).build().unwrap();
        assert!(pool.call((0, End::Exits, 9)).wait().unwrap_err().is_disconnected());
        let panics = pool.request((1, End::Panics, 9)).idempotent().call();
        assert!(panics.wait().unwrap_err().is_panic());
        let stays = pool.request((2, End::Stays, 9)).idempotent();
        let stays = stays.timeout(Duration::from_millis(200)).call();
        assert!(stays.wait().unwrap_err().is_timeout());
        let cancelled = pool.request((3, End::Stays, 9)).idempotent().call();
        cancelled.cancel();
        assert!(cancelled.wait().unwrap_err().is_cancelled());
        assert_eq!(pool.finish().unwrap().retried, 0);
        let counts = ledger.counts(4);
        assert!(counts[..2] == [1, 1] && counts.iter().all(|count| *count <= 1), "{counts:?}");
    });
}
