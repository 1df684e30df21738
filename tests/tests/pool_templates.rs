//! What workers are forked from: it dies, cannot be made again, is replaced under load, or is
//! shared by two pools.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use offshoot::testing::{kill_template, kill_worker, stall_template};
use offshoot::{Args, Pool, Process, RunArgs};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::probe::{Clean, settled};
use offshoot_tests::{DEADLINE, eventually, parent_of, within};

offshoot::early!();

static LOADED: AtomicBool = AtomicBool::new(false);

/// Notes in the file that came that it has run.
#[offshoot::setup]
fn load(args: Args) -> Result<(), String> {
    if args.text()[0] == "fail" {
        return Err("not today".to_owned());
    }
    let mut queued = offshoot::run_args();
    let log = queued.fds.pop().expect("a file was sent");
    File::from(log).write_all(b"x").unwrap();
    LOADED.store(true, Ordering::Relaxed);
    Ok(())
}

struct Version(String);

fn version(queued: RunArgs) -> Version {
    Version(queued.args.iter().map(|v| String::from_utf8_lossy(v)).collect())
}

/// The version, the process and its parent.
#[offshoot::worker(init = version)]
fn who(version: &mut Version, gate: Option<offshoot::Fd>) -> (String, u32, u32) {
    gate.inspect(|gate| pass(gate));
    let own = std::process::id();
    (version.0.clone(), own, parent_of(own).unwrap())
}

#[offshoot::worker]
fn is_loaded(nap: u64) -> (bool, u32) {
    std::thread::sleep(Duration::from_millis(nap));
    (LOADED.load(Ordering::Relaxed), std::process::id())
}

fn runs_of(mut log: &File) -> usize {
    log.seek(SeekFrom::Start(0)).unwrap();
    log.read_to_end(&mut Vec::new()).unwrap()
}

fn versioned(version: &str) -> Process {
    settled(Process::new().unwrap()).send_arg(version)
}

#[test]
fn its_death_is_survived_and_setup_functions_run_again() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let log = tempfile::tempfile().unwrap();
        let template = Process::new().unwrap().send_fd(&log).setup(load, ["once"]);
        // A call may come to several that are about to die with the template.
        let pool = Pool::builder(is_loaded).template(template).max(2).retry(9).build().unwrap();
        assert_eq!(runs_of(&log), 1);
        for deaths in 1..=3 {
            assert!(pool.request(0).idempotent().call().wait().unwrap().0);
            kill_template(&pool).unwrap();
            // All at once: it is made again once.
            let calls: Vec<_> = (0..8).map(|_| pool.request(1).idempotent().call()).collect();
            assert!(calls.into_iter().all(|call| call.wait().unwrap().0), "it was set up");
            eventually(DEADLINE, "it is made again", || pool.stats().templates == deaths);
            assert_eq!(runs_of(&log), 1 + deaths as usize);
        }
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed.total(), stats.done), (0, 27));
        drop((pool, log));
        clean.after();
    });
}

#[test]
fn spares_that_die_with_it_are_there_again_though_nothing_is_called() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let log = tempfile::tempfile().unwrap();
        let template = Process::new().unwrap().send_fd(&log).setup(load, ["once"]);
        let pool = Pool::builder(is_loaded).template(template).max(1).spares(2).build().unwrap();
        eventually(DEADLINE, "they are there", || pool.stats().spares == 2);
        for deaths in 1..=3 {
            kill_template(&pool).unwrap();
            eventually(DEADLINE, "they are there again", || {
                let stats = pool.stats();
                (stats.templates, stats.spares) == (deaths, 2)
            });
            assert_eq!(runs_of(&log), 1 + deaths as usize);
        }
        assert!(pool.call(0).wait().unwrap().0);
        assert_eq!(pool.finish().unwrap().failed.total(), 0);
        drop((pool, log));
        clean.after();
    });
}

#[test]
fn its_death_is_survived_where_standard_error_is_kept() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let log = tempfile::tempfile().unwrap();
        let template = Process::new().unwrap().send_fd(&log).setup(load, ["once"]);
        let pool = Pool::builder(is_loaded).template(template).max(3).start(Duration::ZERO);
        let pool = pool.load(1).retry(9).capture_stderr(true).build().unwrap();
        for deaths in 1..=3 {
            kill_template(&pool).unwrap();
            // Several workers are to be made, of a template that is not there; the old ones
            // may still do a call or two.
            eventually(DEADLINE, "it is made again", || {
                let calls = [1; 6].map(|nap| pool.request(nap).idempotent().call());
                assert!(calls.into_iter().all(|call| call.wait().unwrap().0), "it was set up");
                assert!(pool.stats().templates <= deaths, "once");
                pool.stats().templates == deaths
            });
        }
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed.total(), stats.starting), (0, 0), "{stats:?}");
        drop((pool, log));
        clean.after();
    });
}

#[test]
fn where_it_cannot_be_made_again_every_call_is_told() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = Pool::builder(who).template(versioned("1"));
        let pool = pool.restart(2, DEADLINE).backoff(Duration::ZERO, Duration::ZERO);
        let pool = pool.build().unwrap();
        assert_eq!(pool.call(None).wait().unwrap().0, "1");
        kill_template(&pool).unwrap();
        eventually(DEADLINE, "its worker dies too", || pool.stats().died == 1);
        let calls = [(); 3].map(|()| pool.call(None));
        for told in calls.map(|call| call.wait()) {
            let error = told.unwrap_err();
            assert!(error.is_pool_broken(), "{error}");
            assert!(error.to_string().contains("it cannot be made again"), "{error}");
        }
        // With another one it goes on.
        pool.reload(versioned("2")).unwrap();
        assert_eq!(pool.call(None).wait().unwrap().0, "2");
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = Pool::builder(who).template(versioned("1")).build().unwrap();
        let (_, pid, _) = pool.call(None).wait().unwrap();
        let bad = Process::new().unwrap().setup(load, ["fail"]);
        let error = pool.reload(bad).unwrap_err();
        assert!(error.is_setup() && error.to_string().contains("not today"), "{error}");
        let (version, again, _) = pool.call(None).wait().unwrap();
        assert_eq!((version.as_str(), again), ("1", pid));
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn a_reload_under_load_loses_no_call() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = Pool::builder(who).template(versioned("0")).max(3).start(Duration::ZERO);
        let pool = pool.max_recycling(1).build().unwrap();
        let stop = AtomicBool::new(false);
        let seen = std::thread::scope(|s| {
            let callers = [0, 1, 2].map(|_| {
                s.spawn(|| {
                    let mut seen = BTreeSet::new();
                    let endless = std::iter::repeat_with(|| None);
                    let calls = endless.take_while(|_| !stop.load(Ordering::Relaxed));
                    for told in pool.map_unordered(calls) {
                        seen.insert(told.unwrap().0);
                    }
                    seen
                })
            });
            for version in 1..=5 {
                let done = pool.stats().done;
                eventually(DEADLINE, "there is load", || pool.stats().done > done + 100);
                pool.reload(versioned(&version.to_string())).unwrap();
                let version = version.to_string();
                // All of them are of the new one, in the end.
                eventually(DEADLINE, "all are replaced", || {
                    pool.broadcast(None)
                        .unwrap()
                        .into_iter()
                        .all(|call| call.wait().is_ok_and(|(told, ..)| told == version))
                });
            }
            stop.store(true, Ordering::Relaxed);
            callers.map(|caller| caller.join().unwrap())
        });
        assert!(seen.iter().any(|versions| versions.len() > 2), "{seen:?}");
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed.total(), stats.died), (0, 0), "{stats:?}");
        drop(pool);
        clean.after();
    });
}

#[test]
fn two_pools_of_one_template_know_nothing_of_each_other() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let template = versioned("shared");
        let build = || {
            let own = template.fork().unwrap();
            Pool::builder(who).template(own).max(1).stop(Duration::MAX).build().unwrap()
        };
        let (one, two) = (build(), build());
        let (_, of_one, parent) = one.call(None).wait().unwrap();
        let (version, of_two, other_parent) = two.call(None).wait().unwrap();
        assert_eq!((version.as_str(), other_parent), ("shared", parent));
        assert!(kill_worker(&one, of_two).unwrap_err().is_ended());
        kill_worker(&one, of_one).unwrap();
        assert_ne!(one.request(None).idempotent().call().wait().unwrap().1, of_one);
        one.kill().unwrap();
        one.finish().unwrap();
        assert_eq!(two.call(None).wait().unwrap().1, of_two);
        drop(template);
        assert_eq!(two.call(None).wait().unwrap().1, of_two);
        two.finish().unwrap();
        drop((one, two));
        clean.after();
    });
}

#[test]
fn while_it_is_stopped_calls_go_to_those_that_there_are() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = Pool::builder(who).template(versioned("1")).max(2).load(1);
        let pool = pool.start(Duration::ZERO).stop(Duration::MAX).build().unwrap();
        let (_, pid, _) = pool.call(None).wait().unwrap();
        let stalled = stall_template(&pool).unwrap();
        // One more is wanted, and comes late; the one that there is goes on.
        let (gate, shut) = Gate::new();
        let held = pool.call(Some(shut));
        let mut waiting = pool.call(None);
        assert!(waiting.wait_timeout(Duration::from_millis(30)).unwrap().is_none());
        drop(gate);
        assert_eq!(held.wait().unwrap().1, pid);
        assert_eq!(pool.call(None).wait().unwrap().1, pid);
        drop(stalled);
        assert_ne!(waiting.wait().unwrap().1, pid);
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}
