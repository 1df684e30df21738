//! Has a pool, and forks by itself: the fork can do nothing with it, nor anything to it.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot::{Error, Pool, Process};
use offshoot_tests::{DEADLINE, eventually, state};

#[offshoot::worker]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Waits until all threads but this one have slept for some time: they hold no lock.
fn others_sleep() {
    let me = nix::unistd::gettid().to_string();
    let asleep = || {
        fs::read_dir("/proc/self/task").unwrap().all(|task| {
            let task = task.unwrap();
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            task.file_name() == *me || stat.rsplit_once(") ").is_none_or(|s| s.1.starts_with('S'))
        })
    };
    let mut since = None;
    eventually(DEADLINE, "the others sleep", || {
        since = if asleep() { since.or_else(|| Some(Instant::now())) } else { None };
        since.is_some_and(|s: Instant| s.elapsed() > Duration::from_millis(100))
    });
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

fn pids(pool: &Pool<(u64, u64), u64>) -> BTreeSet<u32> {
    pool.pids().into_iter().collect()
}

#[offshoot::main]
#[allow(unsafe_code)]
fn main() {
    let pool = Pool::builder(add).max(2).idle(2).start(Duration::ZERO).build().unwrap();
    eventually(DEADLINE, "both are ready", || pool.stats().idle == 2);
    let workers = pids(&pool);
    let (open, dropped) = (pool.call((2, 2)), pool.call((3, 3)));
    let received = pool.call((3, 5));
    others_sleep();
    // Its answer will come while only the fork could read it.
    workers.iter().for_each(|pid| send(*pid, Signal::SIGSTOP));
    let late = pool.call((5, 6));
    others_sleep();
    // SAFETY: no other thread holds a lock: they sleep.
    if let nix::unistd::ForkResult::Parent { child } = unsafe { nix::unistd::fork() }.unwrap() {
        let status = nix::sys::wait::waitpid(child, None).unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
        assert_eq!(open.wait().unwrap(), 4);
        assert_eq!(dropped.wait().unwrap(), 6);
        assert_eq!(received.wait().unwrap(), 8);
        assert_eq!(late.wait().unwrap(), 11);
        assert_eq!(pool.call((4, 4)).wait().unwrap(), 8);
        assert_eq!(pids(&pool), workers);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.total(), stats.started), (5, 0, 2));
        println!("the parent's is the parent's");
        return;
    }
    let refused = |what, error: Error| assert!(error.is_not_owner(), "{what}: {error}");
    let parent = nix::unistd::getppid().as_raw() as u32;
    send(parent, Signal::SIGSTOP);
    eventually(DEADLINE, "the parent is stopped", || state(parent) == Some('T'));
    workers.iter().for_each(|pid| send(*pid, Signal::SIGCONT));
    let mut since = None;
    eventually(DEADLINE, "the late answer has been sent", || {
        let rest = workers.iter().all(|pid| state(*pid) == Some('S'));
        since = if rest { since.or_else(|| Some(Instant::now())) } else { None };
        since.is_some_and(|s: Instant| s.elapsed() > Duration::from_millis(50))
    });
    let first = pool.map_unordered([(1, 1)]).next();
    send(parent, Signal::SIGCONT);
    refused("a map whose first answer is read in person", first.unwrap().unwrap_err());
    refused("call", pool.call((1, 1)).wait().unwrap_err());
    refused("request", pool.request((1, 1)).priority(1).call().wait().unwrap_err());
    refused("try_call", pool.try_call((1, 1)).unwrap_err().error);
    pool.call_then((1, 1), move |result| refused("call_then", result.unwrap_err()));
    refused("map", pool.map([(1, 1)]).next().unwrap().unwrap_err());
    refused("map_unordered", pool.map_unordered([(1, 1)]).next().unwrap().unwrap_err());
    refused("broadcast", pool.broadcast((1, 1)).unwrap_err());
    let fresh = Process::new().unwrap();
    refused("reload", pool.reload(fresh).unwrap_err());
    open.cancel();
    refused("wait", open.wait().unwrap_err());
    drop(received);
    pool.resize(5);
    assert_eq!(pool.stats().started, 0, "nothing is known of it here");
    refused("kill", pool.kill().unwrap_err());
    refused("finish", pool.finish().unwrap_err());
    drop(dropped);
    drop(pool);
    // It can have a pool of its own.
    let own = Pool::builder(add).build().unwrap();
    assert_eq!(own.call((5, 5)).wait().unwrap(), 10);
    assert_eq!(own.finish().unwrap().done, 1);
    // SAFETY: it runs nothing of the parent's.
    unsafe { libc::_exit(0) }
}
