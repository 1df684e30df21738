//! Pools that have nothing to do.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use offshoot::Pool;
use offshoot_tests::{DEADLINE, eventually};

use super::{Scene, nap};

pub(super) const SCENES: &[Scene] = &[("rest", rest)];

/// The threads of a process but this one.
fn others(pid: &str) -> Vec<PathBuf> {
    let own = nix::unistd::gettid().to_string();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    tasks.filter(|task| !task.ends_with(&own)).collect()
}

/// How often they were woken, and so slept again.
fn sleeps(pid: &str) -> u64 {
    let of = |task: &PathBuf| {
        let status = fs::read_to_string(task.join("status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("voluntary_ctxt_switches")).unwrap();
        line.rsplit('\t').next().unwrap().parse::<u64>().unwrap()
    };
    others(pid).iter().map(of).sum()
}

/// Of its threads but this one, in nanoseconds.
fn cpu_time(pid: &str) -> u64 {
    let of = |path: &std::path::Path| {
        let stat = fs::read_to_string(path.join("schedstat")).unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    others(pid).iter().map(|task| of(task)).sum()
}

fn rest() {
    // Each option that has to do with time is on.
    let pool = Pool::builder(nap)
        .max(4)
        .idle(2)
        .spares(1)
        .start(Duration::ZERO)
        .stop(Duration::from_millis(20))
        .timeout(Duration::from_secs(1000))
        .max_age(Duration::from_secs(1000))
        .capture_stderr(true)
        .build()
        .unwrap();
    assert_eq!(pool.map_unordered(vec![5; 40]).filter(|told| told.is_ok()).count(), 40);
    eventually(DEADLINE, "only those that are kept", || {
        let stats = pool.stats();
        (stats.idle, stats.spares) == (2, 1) && stats.retiring + stats.busy + stats.starting == 0
    });
    let workers: Vec<String> = pool.pids().iter().map(u32::to_string).collect();
    assert_eq!(workers.len(), 2);
    let all: Vec<&str> = workers.iter().map(String::as_str).chain(["self"]).collect();
    // Times that were asked for before, for those that have ended since, come and go.
    let quiet = (0..6).any(|_| {
        let before: Vec<_> = all.iter().map(|pid| (sleeps(pid), cpu_time(pid))).collect();
        std::thread::sleep(Duration::from_millis(700));
        let after: Vec<_> = all.iter().map(|pid| (sleeps(pid), cpu_time(pid))).collect();
        println!("woken and run: {before:?} to {after:?}");
        before == after
    });
    assert!(quiet, "somebody is woken again and again");
    pool.finish().unwrap();
    println!("at rest");
}
