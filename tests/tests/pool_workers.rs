//! How a pool's workers speak, and what they are heard saying: codec, sizes, panics, standard
//! error, events, logs.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::Duration;

use offshoot::{Context, Json, MessagePack, Pool, Process};
use offshoot_tests::logged::Logged;
use offshoot_tests::{DEADLINE, eventually, within};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing::Level;

offshoot::early!();

/// Whether it was written for people.
struct Legible(bool);

impl Serialize for Legible {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let written = to.is_human_readable();
        to.serialize_bool(written)
    }
}

impl<'de> Deserialize<'de> for Legible {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Legible, D::Error> {
        bool::deserialize(from).map(Legible)
    }
}

#[offshoot::worker]
fn legible(given: Legible) -> bool {
    given.0
}

#[offshoot::worker(codec = Json)]
fn only_json(given: Legible) -> bool {
    given.0
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Say {
    Panic,
    Lines(u32),
    Nothing,
}

/// Writes to standard error, and then ends with status 6, if it is to.
#[offshoot::worker]
fn says(what: Say, ends: bool) -> u32 {
    match what {
        Say::Panic => panic!("enough is enough"),
        Say::Lines(lines) => (0..lines).for_each(|n| eprintln!("this is line {n:05}")),
        Say::Nothing => {}
    }
    if ends {
        std::process::exit(6);
    }
    std::process::id()
}

#[offshoot::worker]
fn zeros(bytes: usize) -> Vec<u8> {
    vec![0; bytes]
}

#[offshoot::worker]
fn tells(cx: &Context<(u32, u32)>, job: u32, times: u32) -> u32 {
    (0..times).for_each(|n| cx.event(&(job, n)));
    std::process::id()
}

/// How often this process has slept.
#[offshoot::worker]
fn sleeps() -> u64 {
    switches()
}

fn switches() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[offshoot::worker]
fn logs(job: u32) -> u32 {
    tracing::info!(job, "done with it");
    std::process::id()
}

#[test]
fn a_pool_can_have_another_codec() {
    within(DEADLINE, || {
        let call = |pool: Pool<Legible, bool>| pool.call(Legible(false)).wait().unwrap();
        assert!(!call(Pool::builder(legible).build().unwrap()));
        assert!(call(Pool::builder(legible).codec(Json).build().unwrap()));
        assert!(!call(Pool::builder(legible).codec(MessagePack).build().unwrap()));
        assert!(call(Pool::builder(only_json).build().unwrap()));
        let error = Pool::builder(only_json).codec(MessagePack).build().unwrap_err();
        assert!(error.is_unsupported(), "{error}");
        assert!(error.to_string().contains("name it in its attribute"), "{error}");
    });
}

#[test]
fn results_can_be_limited() {
    within(DEADLINE, || {
        let pool = Pool::builder(zeros).max_reply(1000).build().unwrap();
        let error = pool.call(1000).wait().unwrap_err();
        assert!(error.is_codec() && !error.is_disconnected(), "{error}");
        assert_eq!(pool.call(900).wait().unwrap().len(), 900);
        let pool = Pool::builder(zeros).build().unwrap();
        assert_eq!(pool.call(1000).wait().unwrap().len(), 1000);
    });
}

/// The panic of a call, and whether the next call is the same process's.
fn after_panic(keep: bool) -> bool {
    let pool = Pool::builder(says).max(1).keep_after_panic(keep).build().unwrap();
    let pid = pool.call((Say::Nothing, false)).wait().unwrap();
    let error = pool.call((Say::Panic, false)).wait().unwrap_err();
    assert!(error.is_panic() && !error.is_disconnected(), "{error}");
    assert_eq!(error.panic_message(), Some("enough is enough"));
    assert!(error.panic_location().is_some_and(|at| at.contains("pool_workers.rs:")), "{error}");
    let same = pool.call((Say::Nothing, false)).wait().unwrap() == pid;
    let stats = pool.finish().unwrap();
    assert_eq!((stats.failed.panicked, stats.died), (1, u64::from(!keep)));
    same
}

#[test]
fn a_worker_ends_after_a_panic_unless_it_is_kept() {
    within(DEADLINE, || {
        assert!(!after_panic(false));
        assert!(after_panic(true));
    });
}

#[test]
fn what_is_behind_a_panic_goes_to_another_worker() {
    within(DEADLINE, || {
        let pool = Pool::builder(says).max(1).load(3).build().unwrap();
        let calls = [Say::Panic, Say::Nothing, Say::Nothing].map(|what| pool.call((what, false)));
        let [first, second, third] = calls.map(|call| call.wait());
        assert!(first.unwrap_err().is_panic());
        assert_eq!(second.unwrap(), third.unwrap());
        // Unless they were made after it.
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed.total(), stats.done, stats.started), (1, 2, 2));
    });
}

#[test]
fn the_end_of_standard_error_is_in_the_error_of_a_worker_that_dies() {
    within(DEADLINE, || {
        let pool = Pool::builder(says).capture_stderr(true).max(1).build().unwrap();
        let error = pool.call((Say::Lines(3), true)).wait().unwrap_err();
        let lines = "this is line 00000\nthis is line 00001\nthis is line 00002";
        assert_eq!(error.stderr_tail(), Some(lines));
        assert_eq!(error.exit_status().and_then(|s| s.code()), Some(6));
        assert!(error.to_string().ends_with("it said last: this is line 00002"), "{error}");
        // Much more than a pipe holds: nobody waits for it to be read.
        pool.call((Say::Lines(20_000), false)).wait().unwrap();
        let error = pool.call((Say::Lines(1), true)).wait().unwrap_err();
        let tail = error.stderr_tail().unwrap();
        assert!(tail.len() <= 4096 && tail.len() > 4000, "{}", tail.len());
        assert!(tail.ends_with("this is line 19999\nthis is line 00000"), "{tail}");
        assert!(tail.starts_with("this is line "), "{tail}");
        let error = pool.call((Say::Nothing, true)).wait().unwrap_err();
        assert_eq!((error.stderr_tail(), error.exit_status().unwrap().signal()), (None, None));
        let pool = Pool::builder(says).build().unwrap();
        assert_eq!(pool.call((Say::Lines(1), true)).wait().unwrap_err().stderr_tail(), None);
    });
}

#[test]
fn events_of_a_worker_come_in_order_with_its_pid_and_before_its_result() {
    within(DEADLINE, || {
        let (sender, receiver) = mpsc::channel();
        let pool = Pool::builder(tells).max(3).load(2).start(Duration::ZERO);
        let pool = pool.on_event(move |pid, event| sender.send((pid, event)).unwrap());
        let pool = pool.build().unwrap();
        let calls: Vec<_> = (0..30).map(|job| pool.call((job, 20))).collect();
        let mut heard: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        let mut pids = BTreeSet::new();
        for (job, call) in (0..).zip(calls) {
            let pid = call.wait().unwrap();
            pids.insert(pid);
            receiver.try_iter().for_each(|(pid, event)| heard.entry(pid).or_default().push(event));
            let of_it: Vec<u32> =
                heard[&pid].iter().filter(|(of, _)| *of == job).map(|(_, n)| *n).collect();
            assert_eq!(of_it, (0..20).collect::<Vec<_>>(), "all of job {job}, before its result");
        }
        assert_eq!(heard.keys().copied().collect::<BTreeSet<_>>(), pids);
        for (pid, events) in heard {
            let jobs: Vec<u32> = events.chunk_by(|a, b| a.0 == b.0).map(|c| c[0].0).collect();
            assert!(jobs.is_sorted(), "{pid} does one job after the other: {jobs:?}");
        }
    });
}

#[test]
fn errors_that_concern_no_call_are_told() {
    within(DEADLINE, || {
        let (sender, receiver) = mpsc::channel();
        let on_error = move |error| sender.send(error).unwrap();
        let pool = Pool::builder(tells).max(1).on_error(on_error).build().unwrap();
        let pid = pool.call((0, 3)).wait().unwrap();
        let error = receiver.recv().unwrap();
        assert!(error.to_string().contains("no `on_event`"), "{error}");
        offshoot::testing::kill_worker(&pool, pid).unwrap();
        let error = receiver.recv().unwrap();
        assert!(error.is_disconnected() && error.was_started().is_none(), "{error}");
        assert_eq!(error.exit_status().and_then(|s| s.signal()), Some(libc::SIGKILL));
        assert_ne!(pool.call((0, 0)).wait().unwrap(), pid);
        pool.finish().unwrap();
        drop(pool);
        assert!(receiver.recv().is_err(), "nothing else was wrong");
    });
}

#[test]
fn workers_can_do_without_looking_for_calls_before_they_sleep() {
    within(DEADLINE, || {
        let pool = Pool::builder(sleeps).max(1).spin(false).build().unwrap();
        let before = (pool.call(()).wait().unwrap(), switches());
        for _ in 0..200 {
            pool.call(()).wait().unwrap();
        }
        let slept = pool.call(()).wait().unwrap() - before.0 + switches() - before.1;
        // For each call, one of both has to wait for the other.
        assert!(slept >= 100, "{slept}");
    });
}

#[test]
fn what_workers_log_goes_to_the_subscriber_of_who_built_the_pool() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let build = |forward| {
            let pool = Pool::builder(logs).template(Process::new().unwrap()).max(2).load(1);
            let pool = pool.start(Duration::ZERO).max_jobs(2).forward_logs(forward);
            tracing::subscriber::with_default(logged.clone(), || pool.build().unwrap())
        };
        let (pool, silent) = (build(true), build(false));
        // Most of these workers are started by whatever thread there is.
        let mut pids: BTreeMap<u64, u64> = BTreeMap::new();
        for result in pool.map(0..20) {
            *pids.entry(result.unwrap().into()).or_default() += 1;
        }
        silent.call(99).wait().unwrap();
        pool.finish().unwrap();
        let mut told: BTreeMap<u64, u64> = BTreeMap::new();
        let mut jobs = BTreeSet::new();
        for event in logged.events() {
            assert_eq!(event.fields.text("message"), Some("done with it"), "{event:?}");
            assert!(event.fields.text("worker.entry").unwrap().ends_with("::logs"));
            *told.entry(event.fields.number("worker.pid").unwrap()).or_default() += 1;
            jobs.insert(event.fields.number("job").unwrap());
        }
        assert_eq!(told, pids);
        assert_eq!(jobs, (0..20).collect());
        eventually(DEADLINE, "it is over", || pool.pids().is_empty());
    });
}
