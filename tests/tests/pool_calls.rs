//! A call of a pool in all its forms: waited for, for a while, awaited, received, called
//! back, let go, and cancelled wherever it is.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use crossbeam_channel::{Select, select};
use offshoot::pool::PoolBuilder;
use offshoot::{Done, Pool};
use offshoot_tests::block_on::{all, block_on};
use offshoot_tests::program::Watched;
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job)
}

/// The first of all calls is answered when the second comes, with its number.
#[offshoot::worker(init = turnstile::enter)]
fn paired(at: &mut Passage, done: Done<u32>, job: u32) {
    static FIRST: std::sync::Mutex<Option<Done<u32>>> = std::sync::Mutex::new(None);
    at.begin(job);
    let mut first = FIRST.lock().unwrap();
    match first.take() {
        Some(first) => {
            first.complete(job);
            done.complete(job);
        }
        None => *first = Some(done),
    }
}

fn builder(turnstile: &Turnstile) -> PoolBuilder<u32, u32> {
    Pool::builder(held).template(turnstile.template()).max(1).load(1)
}

#[test]
fn a_call_can_be_waited_for_a_while() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).build().unwrap();
        let (mut running, mut queued) = (pool.call(0), pool.call(1));
        let (_, pid) = turnstile.next();
        for call in [&mut running, &mut queued] {
            assert_eq!(call.wait_timeout(Duration::from_millis(1)).unwrap(), None);
            assert_eq!(call.wait_timeout(Duration::ZERO).unwrap(), None);
            assert_eq!(call.try_wait().unwrap(), None);
        }
        turnstile.open();
        assert_eq!(queued.wait_timeout(DEADLINE).unwrap(), Some(pid));
        assert_eq!(running.try_wait().unwrap(), Some(pid));
        let taken = running.try_wait().unwrap_err();
        assert!(taken.to_string().contains("taken already"), "{taken}");
    });
}

#[test]
fn calls_can_be_selected_from() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(2).start(Duration::ZERO).build().unwrap();
        let calls = [0, 1].map(|job| pool.call(job).into_receiver());
        let (_, pids) = turnstile.next_of(2);
        turnstile.let_through(1);
        let mut select = Select::new();
        for call in &calls {
            select.recv(call);
        }
        let one = select.ready();
        assert_eq!(calls[one].recv().unwrap().unwrap(), pids[one]);
        assert!(calls[1 - one].try_recv().is_err(), "only one was let through");
        turnstile.open();
        select! {
            recv(calls[1 - one]) -> pid => assert_eq!(pid.unwrap().unwrap(), pids[1 - one]),
        }
        assert!(calls[one].recv().is_err(), "a result is told once");
    });
}

#[test]
fn calls_can_be_awaited_with_whatever_executor() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(2).start(Duration::ZERO).build().unwrap();
        let calls: Vec<_> = (0..6).map(|job| pool.call(job)).collect();
        let opens = std::thread::spawn(move || {
            let begun: BTreeSet<u32> = turnstile.next_of(2).1.into_iter().collect();
            turnstile.open();
            (begun, turnstile)
        });
        let pids: BTreeSet<u32> = block_on(all(calls)).into_iter().map(Result::unwrap).collect();
        let (begun, _turnstile) = opens.join().unwrap();
        assert_eq!(pids, begun);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pid = runtime.block_on(async { pool.call_async(6).await.await.unwrap() });
        assert!(pids.contains(&pid));
    });
}

#[test]
fn results_can_be_called_back_with() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).build().unwrap();
        let (tells, told) = mpsc::channel();
        for job in 0..3 {
            let tells = tells.clone();
            pool.call_then(job, move |result| tells.send((job, result)).unwrap());
        }
        pool.request(3).priority(1).call_then(move |result| tells.send((3, result)).unwrap());
        let (_, pid) = turnstile.next();
        assert!(told.try_recv().is_err());
        turnstile.open();
        let order: Vec<u32> = told
            .iter()
            .map(|(job, result)| {
                assert_eq!(result.unwrap(), pid);
                job
            })
            .collect();
        assert_eq!(order, [0, 3, 1, 2]);
        pool.finish().unwrap();
        let (tells, told) = mpsc::channel();
        pool.call_then(4, move |result| tells.send(result.unwrap_err().is_pool_ended()).unwrap());
        assert!(told.recv().unwrap());
    });
}

#[test]
fn a_callback_can_call_and_cannot_wait() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        turnstile.open();
        let pool = std::sync::Arc::new(builder(&turnstile).build().unwrap());
        let (tells, told) = mpsc::channel();
        let inner = std::sync::Arc::clone(&pool);
        pool.call_then(0, move |result| {
            result.unwrap();
            let waited = inner.call(1).wait().unwrap_err();
            let finished = inner.finish().unwrap_err();
            tells.send([waited, finished]).unwrap();
        });
        for error in told.recv().unwrap() {
            assert!(error.is_deadlock(), "{error}");
            assert!(error.to_string().contains("by a callback of the very"), "{error}");
        }
        let refused = pool.call(2).wait();
        assert!(refused.is_ok(), "what is an error changes nothing: {refused:?}");
    });
}

#[test]
fn a_call_that_nobody_waits_for_is_done() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).build().unwrap();
        for job in 0..5 {
            drop(pool.call(job));
        }
        turnstile.open();
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, turnstile.next_of(5).0), (5, vec![0, 1, 2, 3, 4]));
    });
}

#[test]
fn a_queued_call_that_is_cancelled_is_never_begun() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).queue_limit(1).build().unwrap();
        let (running, queued) = (pool.call(0), pool.call(1));
        assert!(pool.try_call(2).unwrap_err().is_full());
        queued.cancel();
        let third = pool.try_call(2).expect("its place is free");
        let error = queued.wait().unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        turnstile.open();
        assert_eq!(running.wait().unwrap(), third.wait().unwrap());
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.cancelled, stats.died), (2, 1, 0));
        assert_eq!(turnstile.next_of(2).0, [0, 2]);
    });
}

#[test]
fn a_call_that_is_cancelled_while_it_waits_in_its_worker_is_skipped_there() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).load(3).build().unwrap();
        let [first, second, third] = [0, 1, 2].map(|job| pool.call(job));
        let (_, pid) = turnstile.next();
        second.cancel();
        assert!(second.wait().unwrap_err().is_cancelled());
        // Behind a job that took so long, a worker looks whether the next is still wanted.
        std::thread::sleep(std::time::Duration::from_millis(1));
        turnstile.open();
        assert_eq!([first, third].map(|call| call.wait().unwrap()), [pid; 2]);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.cancelled, stats.died), (2, 1, 0));
        assert_eq!(turnstile.next().0, 2);
    });
}

#[test]
fn a_running_call_that_is_cancelled_takes_its_worker_along_and_no_other_call() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).load(3).build().unwrap();
        let [running, behind, queued] = [0, 1, 3].map(|job| pool.call(job));
        let (_, pid) = turnstile.next();
        let worker = Watched::new(pid);
        running.cancel();
        assert!(running.wait().unwrap_err().is_cancelled());
        assert!(worker.gone_within(DEADLINE));
        turnstile.open();
        let [one, two] = [behind, queued].map(|call| call.wait().unwrap());
        assert!(one == two && one != pid);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.cancelled, stats.failed.total()), (2, 1, 1));
        assert_eq!((stats.died, stats.moved), (1, 2));
    });
}

#[test]
fn an_asynchronous_worker_outlives_a_call_that_is_cancelled() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = Pool::builder(paired).template(turnstile.template()).max(1).build().unwrap();
        let first = pool.call(0);
        let (_, pid) = turnstile.next();
        first.cancel();
        assert!(first.wait().unwrap_err().is_cancelled());
        assert_eq!(pool.call(1).wait().unwrap(), 1);
        assert_eq!(turnstile.next(), (1, pid));
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.cancelled, stats.died), (1, 1, 0));
    });
}

#[test]
fn to_cancel_what_is_over_does_nothing() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        turnstile.open();
        let pool = builder(&turnstile).build().unwrap();
        let mut call = pool.call(0);
        let pid = call.wait_timeout(DEADLINE).unwrap();
        call.cancel();
        let other = pool.call(1);
        assert_eq!(pool.call(2).wait().ok(), pid);
        other.cancel();
        assert_eq!(other.wait().ok(), pid);
        assert_eq!(pool.finish().unwrap().failed.total(), 0);
    });
}
