//! What is done with a whole pool: reload, broadcast, finish, kill.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use offshoot::pool::PoolBuilder;
use offshoot::{Pool, Process, RunArgs};
use offshoot_tests::block_on::block_on;
use offshoot_tests::program::Watched;
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job)
}

struct Marked {
    mark: String,
    loaded: u32,
}

fn marked(queued: RunArgs) -> Marked {
    let mark = String::from_utf8_lossy(&queued.args.concat()).into_owned();
    Marked { mark, loaded: 0 }
}

/// Loads something, or ends, or says what it has loaded.
#[offshoot::worker(init = marked)]
fn loads(state: &mut Marked, what: Option<u32>) -> (u32, String, u32) {
    match what {
        Some(0) => std::process::exit(3),
        Some(what) => state.loaded = what,
        None => {}
    }
    (std::process::id(), state.mark.clone(), state.loaded)
}

fn builder(turnstile: &Turnstile) -> PoolBuilder<u32, u32> {
    Pool::builder(held).template(turnstile.template()).load(1).start(Duration::ZERO)
}

fn template(mark: &str) -> Process {
    Process::new().unwrap().send_arg(mark)
}

type Loads = Pool<Option<u32>, (u32, String, u32)>;

/// With three workers, which are ready.
fn three(mark: &str) -> Loads {
    let pool = Pool::builder(loads).template(template(mark)).max(3).idle(3).start(Duration::ZERO);
    let pool = pool.build().unwrap();
    eventually(DEADLINE, "all are ready", || pool.stats().idle == 3);
    pool
}

#[test]
fn after_a_reload_workers_are_forked_from_the_new_template() {
    within(DEADLINE, || {
        let pool = three("old");
        let old: BTreeSet<u32> = pool.pids().into_iter().collect();
        pool.reload(template("new")).unwrap();
        eventually(DEADLINE, "the old ones are gone", || {
            pool.stats().idle == 3 && pool.pids().iter().all(|pid| !old.contains(pid))
        });
        for result in pool.map(vec![None; 20]) {
            assert_eq!(result.unwrap().1, "new");
        }
        let stats = pool.finish().unwrap();
        assert_eq!((stats.started, stats.ended, stats.failed.total()), (6, 6, 0));
    });
}

#[test]
fn old_workers_do_what_they_have_and_no_call_is_lost() {
    within(DEADLINE, || {
        let (old, new) = (Turnstile::new(), Turnstile::new());
        let pool = builder(&old).max(1).load(2).build().unwrap();
        let calls: Vec<_> = (0..4).map(|job| pool.call(job)).collect();
        let (_, pid) = old.next();
        pool.reload(new.template()).unwrap();
        // Two are the old one's, and two wait: they are for its successor.
        assert_eq!(new.next().0, 2);
        assert_eq!(pool.stats().retiring, 1);
        old.open();
        new.open();
        let pids: Vec<u32> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
        assert_eq!(pids[..2], [pid; 2]);
        assert!(pids[2] == pids[3] && pids[2] != pid);
        assert_eq!(pool.finish().unwrap().failed.total(), 0);
    });
}

#[test]
fn a_reload_that_does_not_work_leaves_workers_that_do() {
    #[offshoot::setup]
    fn fails(_: offshoot::Args) -> Result<(), String> {
        Err("the new data is not there".to_owned())
    }

    within(DEADLINE, || {
        let pool = three("old");
        let bad = Process::new().unwrap().setup(fails, [""; 0]);
        let error = pool.reload(bad).unwrap_err();
        assert!(error.is_setup(), "{error}");
        assert!(error.to_string().contains("the new data is not there"), "{error}");
        let all: BTreeSet<String> =
            pool.map(vec![None; 10]).map(|result| result.unwrap().1).collect();
        assert_eq!(all, BTreeSet::from(["old".to_owned()]));
        assert_eq!(pool.finish().unwrap().started, 3, "nothing has changed");
    });
}

#[test]
fn spares_are_replaced_by_those_of_the_new_template() {
    within(DEADLINE, || {
        let pool = Pool::builder(loads).template(template("old")).spares(2).build().unwrap();
        eventually(DEADLINE, "they are there", || pool.stats().spares == 2);
        pool.reload(template("new")).unwrap();
        assert_eq!(pool.call(None).wait().unwrap().1, "new");
        eventually(DEADLINE, "there are others", || pool.stats().spares == 2);
    });
}

#[test]
fn a_broadcast_is_for_each_worker_once() {
    within(DEADLINE, || {
        let pool = three("");
        let calls = pool.broadcast(Some(7)).unwrap();
        assert_eq!(calls.len(), 3);
        let told: BTreeSet<u32> = calls.into_iter().map(|call| call.wait().unwrap().0).collect();
        assert_eq!(told, pool.pids().into_iter().collect());
        for result in pool.map(vec![None; 20]) {
            assert_eq!(result.unwrap().2, 7);
        }
        let stats = pool.finish().unwrap();
        assert_eq!((stats.started, stats.done, stats.running), (3, 23, 0));
        assert!(pool.broadcast(Some(8)).unwrap().is_empty(), "there are none");
    });
}

#[test]
fn a_broadcast_goes_to_busy_and_full_workers_too() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(2).build().unwrap();
        let calls: Vec<_> = (0..4).map(|job| pool.call(job)).collect();
        let (_, pids) = turnstile.next_of(2);
        let told = pool.broadcast(9).unwrap();
        assert_eq!((told.len(), pool.stats().running, pool.stats().queued), (2, 4, 2));
        turnstile.open();
        let told: Vec<u32> = told.into_iter().map(|call| call.wait().unwrap()).collect();
        assert!(told == pids || told == [pids[1], pids[0]], "{told:?}, of {pids:?}");
        assert!(calls.into_iter().all(|call| call.wait().is_ok()));
    });
}

#[test]
fn workers_that_die_of_a_broadcast_take_only_their_own_call_along() {
    within(DEADLINE, || {
        let pool = three("");
        let told = pool.broadcast(Some(0)).unwrap();
        assert_eq!(told.len(), 3);
        for call in told {
            let error = call.wait().unwrap_err();
            assert_eq!(error.exit_status().and_then(|s| s.code()), Some(3), "{error}");
        }
        for result in pool.map(vec![None; 10]) {
            assert_eq!(result.unwrap().2, 0);
        }
        let stats = pool.finish().unwrap();
        assert_eq!((stats.died, stats.failed.died, stats.done), (3, 3, 10));
    });
}

#[test]
fn a_broadcast_that_waits_in_a_worker_that_dies_was_not_started() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(1).build().unwrap();
        let running = pool.call(0);
        let worker = Watched::new(turnstile.next().1);
        let mut told = pool.broadcast(1).unwrap();
        worker.signal(nix::sys::signal::Signal::SIGKILL);
        let error = running.wait().unwrap_err();
        assert_eq!((error.was_started(), error.killed_because()), (Some(true), None));
        let error = told.pop().unwrap().wait().unwrap_err();
        assert_eq!(error.was_started(), Some(false), "the next one begins anew: {error}");
        assert_eq!(error.exit_status().and_then(|s| s.signal()), Some(libc::SIGKILL));
        pool.finish().unwrap();
    });
}

#[test]
fn finish_waits_for_all_calls_and_workers() {
    within(DEADLINE, || {
        for awaited in [false, true] {
            let turnstile = Turnstile::new();
            let over = Arc::new(AtomicUsize::new(0));
            let tells = Arc::clone(&over);
            let on_destroy = move || {
                tells.fetch_add(1, Ordering::Relaxed);
            };
            let pool = builder(&turnstile).max(2).spares(1).on_destroy(on_destroy).build().unwrap();
            let calls: Vec<_> = (0..6).map(|job| pool.call(job)).collect();
            let workers: Vec<Watched> =
                turnstile.next_of(2).1.into_iter().map(Watched::new).collect();
            std::thread::scope(|s| {
                let finishing = s.spawn(|| match awaited {
                    false => pool.finish().unwrap(),
                    true => block_on(pool.finish_async()).unwrap(),
                });
                eventually(DEADLINE, "it takes no more", || {
                    pool.try_call(6).is_err_and(|refused| refused.is_pool_ended())
                });
                assert_eq!(over.load(Ordering::Relaxed), 0);
                turnstile.open();
                let stats = finishing.join().unwrap();
                assert_eq!(over.load(Ordering::Relaxed), 1, "it is told before that returns");
                assert_eq!((stats.queued, stats.running, stats.spares), (0, 0, 0));
                let there = stats.starting + stats.idle + stats.busy + stats.retiring;
                assert_eq!((there, stats.failed.total()), (0, 0));
                assert_eq!(stats.ended, stats.started);
            });
            assert!(workers.iter().all(|worker| worker.gone_within(DEADLINE)));
            assert!(pool.pids().is_empty());
            assert!(calls.into_iter().all(|mut call| matches!(call.try_wait(), Ok(Some(_)))));
            pool.finish().unwrap();
            drop(pool);
            assert_eq!(over.load(Ordering::Relaxed), 1, "once");
        }
    });
}

#[test]
fn kill_ends_workers_and_calls_at_once() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let (tells, told) = mpsc::channel();
        let on_destroy = move || tells.send(()).unwrap();
        let pool = builder(&turnstile).max(2).load(2).spares(1).on_destroy(on_destroy);
        let pool = pool.build().unwrap();
        let calls: Vec<_> = (0..6).map(|job| pool.call(job)).collect();
        let (jobs, pids) = turnstile.next_of(2);
        let workers: Vec<Watched> = pids.into_iter().map(Watched::new).collect();
        pool.kill().unwrap();
        for (job, call) in (0..).zip(calls) {
            let error = call.wait().unwrap_err();
            if jobs.contains(&job) {
                assert!(error.is_disconnected(), "{error}");
                assert_eq!(error.killed_because(), Some("its pool was killed"));
                assert_eq!(error.exit_status().and_then(|s| s.signal()), Some(libc::SIGKILL));
            } else {
                assert!(error.is_pool_ended(), "{job}: {error}");
                assert!(error.to_string().contains("it was finished, or killed"), "{error}");
            }
        }
        assert!(workers.iter().all(|worker| worker.gone_within(DEADLINE)));
        told.recv().unwrap();
        assert!(pool.try_call(9).unwrap_err().is_pool_ended());
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed.died, stats.failed.refused, stats.done), (2, 4, 0));
        assert_eq!((stats.died, stats.spares, stats.queued, stats.running), (2, 0, 0, 0));
        pool.kill().unwrap();
    });
}
