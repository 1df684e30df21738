//! Asynchronous workers that die: all their open calls fail, and no other.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use offshoot::testing::kill_worker;
use offshoot::{Call, Context, Done, Error, Pool};
use offshoot_tests::probe::Clean;
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

/// Says that it has begun, and is not answered before the end, unless the number is 0.
#[offshoot::worker]
fn held_by_done(cx: &Context<u32>, done: Done<u32>, n: u32) {
    if n == 0 {
        return done.complete(std::process::id());
    }
    cx.event(&n);
    std::mem::forget(done);
}

#[offshoot::worker]
async fn held_by_await(cx: Context<u32>, n: u32) -> u32 {
    if n > 0 {
        cx.event(&n);
        std::future::pending::<()>().await;
    }
    std::process::id()
}

const OPEN: u32 = 5;

fn all_open_calls_fail(builder: offshoot::pool::PoolBuilder<u32, u32, u32>) {
    let clean = Clean::before();
    let (sender, receiver) = crossbeam_channel::unbounded();
    let builder = builder.max(2).load(OPEN as usize).start(Duration::ZERO);
    let pool = builder.on_event(move |pid, _| sender.send(pid).unwrap()).build().unwrap();
    let calls: Vec<Call<u32>> = (1..=2 * OPEN).map(|n| pool.call(n)).collect();
    let began: Vec<u32> = receiver.iter().take(calls.len()).collect();
    // Behind them waits one that has no worker.
    let waiting = pool.call(0);
    let victim = began[0];
    let other = *began.iter().find(|pid| **pid != victim).expect("two workers");
    kill_worker(&pool, victim).unwrap();
    let error_of = |error: &Error| {
        assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGKILL), "{error}");
        assert_eq!(error.was_started(), Some(true));
        assert!(error.peak_memory().is_some_and(|bytes| bytes > 100_000));
    };
    // The next worker answers.
    assert!(![victim, other].contains(&waiting.wait().unwrap()));
    let died = || pool.stats().failed.died;
    eventually(DEADLINE, "all that the other had have ended", || died() == u64::from(OPEN));
    kill_worker(&pool, other).unwrap();
    for call in calls {
        error_of(&call.wait().unwrap_err());
    }
    let stats = pool.finish().unwrap();
    assert_eq!((stats.failed.died, stats.done, stats.died), (u64::from(2 * OPEN), 1, 2));
    drop(pool);
    clean.after();
}

#[test]
fn of_a_worker_with_done() {
    within(DEADLINE, || all_open_calls_fail(Pool::builder(held_by_done)));
}

#[test]
fn of_a_worker_that_awaits() {
    within(DEADLINE, || all_open_calls_fail(Pool::builder(held_by_await)));
}
