//! What asynchronous workers do not use up: the processor while nothing is to do, and
//! memory while their parent does not read.

use std::thread;
use std::time::Duration;

use offshoot::{Context, Done, Fd, Process};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::{DEADLINE, eventually, state, within};

offshoot::early!();

const CALLS: u64 = 100;
const MIB: usize = 1 << 20;

/// Nanoseconds that all threads of a process have run.
fn ran(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // A thread may end meanwhile.
    let stats =
        tasks.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("schedstat")).ok());
    stats.map(|stat| stat.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Whether all threads of a process do.
fn sleeps(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut ids = tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap());
    ids.all(|id| state(id).is_none_or(|state| state == 'S'))
}

/// Waits until a process sleeps, and does so again and again without having run.
fn settled(pid: u32) {
    let (mut before, mut same) = (0, 0);
    eventually(DEADLINE, "the process settles", || {
        let now = ran(pid);
        same = if now == before && sleeps(pid) { same + 1 } else { 0 };
        before = now;
        same == 20
    });
}

#[offshoot::worker]
fn held(cx: &Context<()>, done: Done<()>, gate: Fd) {
    cx.event(&());
    thread::spawn(move || {
        pass(gate);
        done.complete(());
    });
}

#[offshoot::worker]
async fn held_async(cx: Context<()>, gate: Fd) {
    let gate = tokio::net::unix::pipe::Receiver::from_owned_fd(gate.into_owned().unwrap());
    cx.event(&());
    gate.unwrap().readable().await.unwrap();
}

fn asleep(pid: u32, when: &str) {
    settled(pid);
    let before = ran(pid);
    // Not for something to happen, but to see that nothing does.
    thread::sleep(Duration::from_millis(100));
    assert_eq!(ran(pid), before, "{when}");
}

macro_rules! idle {
    ($worker:expr) => {
        within(DEADLINE, || {
            let rpc = Process::new().unwrap().rpc($worker).max_concurrent(2).start().unwrap();
            let started = rpc.events();
            let (gate, passer) = Gate::new();
            let calls: Vec<_> = (0..5).map(|_| rpc.call(passer.clone())).collect();
            assert_eq!(started.iter().take(2).count(), 2);
            let pid = rpc.id().unwrap();
            asleep(pid, "calls are open, and others wait");
            calls[4].cancel();
            asleep(pid, "one was cancelled");
            let before = ran(pid);
            let finished = thread::spawn(|| rpc.finish());
            eventually(DEADLINE, "the worker hears of it", || ran(pid) != before);
            asleep(pid, "no more will come");
            drop((gate, calls));
            assert!(finished.join().unwrap().unwrap().success());
        })
    };
}

#[test]
fn an_idle_worker_sleeps() {
    idle!(held);
}

#[test]
fn an_idle_async_fn_sleeps() {
    idle!(held_async);
}

/// The peak of this process's memory, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// It takes memory, and little time to encode.
fn filled() -> String {
    "x".repeat(MIB)
}

#[offshoot::worker]
fn large(done: Done<(usize, String)>, elsewhere: bool) {
    let answer = move || done.complete((peak(), filled()));
    if elsewhere {
        thread::spawn(answer);
    } else {
        answer();
    }
}

#[offshoot::worker]
async fn large_async(cx: Context<String>, events: u32) -> (usize, String) {
    for _ in 0..events {
        cx.event(&filled());
    }
    tokio::task::yield_now().await;
    (peak(), filled())
}

/// Makes very many calls of large results, and reads none before the worker sleeps.
macro_rules! unread {
    ($worker:expr, $args:expr, $calls:expr, $max_concurrent:expr) => {
        within(DEADLINE, || {
            let process = Process::new().unwrap();
            let rpc = process.rpc($worker).max_concurrent($max_concurrent).start().unwrap();
            let calls: Vec<_> = (0..$calls).map(|_| rpc.call($args)).collect();
            // This also sends them, since nobody waits for any.
            let mut calls = calls.into_iter();
            let first = calls.next().unwrap().wait().unwrap();
            assert_eq!(first.1.len(), MIB);
            settled(rpc.id().unwrap());
            let mut most = first.0;
            for call in calls {
                let (peak, bytes) = call.wait().unwrap();
                assert_eq!(bytes.len(), MIB);
                most = most.max(peak);
            }
            rpc.finish().unwrap();
            assert!(most < 40 * MIB, "{} MiB", most / MIB);
        })
    };
}

#[test]
fn results_that_nobody_reads_take_little_memory() {
    unread!(large, false, CALLS, u32::MAX);
}

#[test]
fn nor_do_those_of_threads_as_many_as_may_be() {
    unread!(large, true, CALLS, 4);
}

#[test]
fn nor_do_those_of_an_async_fn() {
    unread!(large_async, 0, CALLS, u32::MAX);
}

#[test]
fn nor_do_its_events() {
    unread!(large_async, 20, CALLS / 20, u32::MAX);
}
