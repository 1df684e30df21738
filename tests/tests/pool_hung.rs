//! Asynchronous workers whose calls run on after they were cancelled, or out of time: they
//! keep their places.

use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use offshoot::pool::PoolBuilder;
use offshoot::{Call, Context, Done, Fd, Pool};
use offshoot_tests::program::Watched;
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

#[derive(serde::Serialize, serde::Deserialize)]
enum Job {
    /// To be answered at once.
    Answer,
    /// When this ends.
    Hold(Fd),
    /// Never.
    Forget,
}

/// Says that it has begun what is not answered at once.
#[offshoot::worker]
fn works(cx: &Context<()>, done: Done<u32>, job: Job) {
    if !matches!(job, Job::Answer) {
        cx.event(&());
    }
    match job {
        Job::Answer => done.complete(std::process::id()),
        Job::Hold(until) => {
            thread::spawn(move || {
                let until = File::from(until.into_owned().unwrap());
                io::read_to_string(until).unwrap();
                done.complete(std::process::id());
            });
        }
        Job::Forget => std::mem::forget(done),
    }
}

/// The same, of an `async fn`: never answers, unless the number is 0.
#[offshoot::worker]
async fn awaits(cx: Context<()>, n: u32) -> u32 {
    if n > 0 {
        cx.event(&());
        std::future::pending::<()>().await;
    }
    std::process::id()
}

const SHORT: Duration = Duration::from_millis(20);

/// With what tells of each call that it has begun. Nothing but what hangs has a limit: what
/// waits for a place that does not come waits for ever.
fn builder() -> (PoolBuilder<Job, u32, ()>, Receiver<()>) {
    let (tells, told) = mpsc::channel();
    let builder = Pool::builder(works).start(Duration::ZERO).stop(Duration::MAX);
    let builder = builder.on_event(move |_, ()| {
        let _ = tells.send(());
    });
    (builder, told)
}

/// Is cancelled when it has begun.
fn cancel(call: Call<u32>, begun: &Receiver<()>) {
    begun.recv().unwrap();
    call.cancel();
    assert!(call.wait().unwrap_err().is_cancelled());
}

/// A call that is answered when what comes with it is dropped.
fn hold(pool: &Pool<Job, u32, ()>) -> (Call<u32>, io::PipeWriter) {
    let (until, ends) = io::pipe().unwrap();
    (pool.call(Job::Hold(until.into())), ends)
}

fn answer(pool: &Pool<Job, u32, ()>) -> u32 {
    pool.call(Job::Answer).wait().unwrap()
}

#[test]
fn what_comes_after_a_call_that_is_out_of_time_is_answered() {
    within(DEADLINE, || {
        let pool = builder().0.max(2).load(1).build().unwrap();
        for late in 1..=5 {
            let hangs = pool.request(Job::Forget).timeout(SHORT).call();
            assert!(hangs.wait().unwrap_err().is_timeout());
            answer(&pool);
            answer(&pool);
            let stats = pool.stats();
            assert_eq!((stats.done, stats.failed.timed_out), (2 * late, late));
        }
        assert_eq!(pool.finish().unwrap().failed.total(), 5);
    });
}

#[test]
fn what_comes_after_a_call_that_hangs_goes_to_another_worker() {
    within(DEADLINE, || {
        let (builder, begun) = builder();
        let pool = builder.max(2).load(1).build().unwrap();
        let first = answer(&pool);
        cancel(pool.call(Job::Forget), &begun);
        for _ in 0..5 {
            assert_ne!(answer(&pool), first);
        }
        assert_eq!(pool.finish().unwrap().started, 2);
    });
}

#[test]
fn a_worker_without_a_place_left_is_replaced() {
    within(DEADLINE, || {
        let (tells, told) = mpsc::channel();
        let (builder, begun) = builder();
        let pool = builder.max(1).load(2).on_error(move |error| tells.send(error).unwrap());
        let pool = pool.build().unwrap();
        let first = Watched::new(answer(&pool));
        cancel(pool.call(Job::Forget), &begun);
        cancel(pool.call(Job::Forget), &begun);
        assert_ne!(answer(&pool), first.pid());
        assert!(first.gone_within(DEADLINE));
        let error = told.recv().unwrap();
        let why = error.killed_because().unwrap();
        assert!(why.contains("ran on after they were cancelled"), "{why}");
        let stats = pool.finish().unwrap();
        assert_eq!((stats.died, stats.started, stats.done), (1, 2, 2));
        assert_eq!(stats.failed.cancelled, 2);
    });
}

#[test]
fn a_worker_with_a_place_left_goes_on_and_the_end_does_not_wait_for_what_hangs() {
    within(DEADLINE, || {
        let (builder, begun) = builder();
        let pool = builder.max(1).load(3).build().unwrap();
        let first = answer(&pool);
        cancel(pool.call(Job::Forget), &begun);
        cancel(pool.call(Job::Forget), &begun);
        for _ in 0..100 {
            assert_eq!(answer(&pool), first);
        }
        let stats = pool.stats();
        assert_eq!((stats.running, stats.busy, stats.died), (0, 1, 0));
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.started), (101, 1));
    });
}

#[test]
fn a_call_keeps_its_place_until_it_is_over_and_then_the_worker_has_it_again() {
    within(DEADLINE, || {
        let (builder, begun) = builder();
        let pool = builder.max(1).load(2).build().unwrap();
        let first = answer(&pool);
        for _ in 0..5 {
            let ((cancelled, cancelled_ends), (held, held_ends)) = (hold(&pool), hold(&pool));
            begun.recv().unwrap();
            cancel(cancelled, &begun);
            let waits = pool.call(Job::Answer);
            let stats = pool.stats();
            assert_eq!((stats.running, stats.queued), (1, 1), "both places are taken");
            drop(cancelled_ends);
            assert_eq!(waits.wait().unwrap(), first);
            drop(held_ends);
            assert_eq!(held.wait().unwrap(), first);
            eventually(DEADLINE, "all places are free", || pool.stats().idle == 1);
        }
        let stats = pool.finish().unwrap();
        assert_eq!((stats.started, stats.died, stats.failed.cancelled), (1, 0, 5));
    });
}

#[test]
fn a_future_is_dropped_and_the_worker_has_its_place_again() {
    within(DEADLINE, || {
        let (tells, begun) = mpsc::channel();
        let pool = Pool::builder(awaits).on_event(move |_, ()| tells.send(()).unwrap());
        let pool = pool.max(1).load(2).build().unwrap();
        let first = pool.call(0).wait().unwrap();
        for _ in 0..20 {
            cancel(pool.call(1), &begun);
            assert_eq!(pool.call(0).wait().unwrap(), first);
        }
        eventually(DEADLINE, "all places are free", || pool.stats().idle == 1);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.started, stats.died, stats.failed.cancelled), (1, 0, 20));
    });
}
