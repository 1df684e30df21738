//! Plays scenes of calls that need a program of their own: memory, threads, CPU time,
//! forks, death.

#[path = "../rpc_scenes/forks.rs"]
mod forks;
#[path = "../rpc_scenes/locals.rs"]
mod locals;

use std::io::Write;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot::{Context, Pool, Process, Rpc};
use offshoot_tests::proc::{memory, peak_memory, threads};
use offshoot_tests::{DEADLINE, eventually, state};

const MIB: u64 = 1 << 20;

#[offshoot::worker]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[offshoot::worker]
async fn add_later(a: u64, b: u64) -> u64 {
    a + b
}

#[offshoot::worker]
fn take(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

#[offshoot::worker]
fn chatter(cx: &Context<Vec<u8>>, events: u32) -> u32 {
    let event = vec![7; 64 << 10];
    (0..events).for_each(|_| cx.event(&event));
    events
}

/// Threads, open descriptors, and memory of this process alone.
#[offshoot::worker]
fn look() -> (usize, usize, u64) {
    (threads(), offshoot_tests::open_fds().len(), offshoot_tests::proc::private_memory("self"))
}

#[offshoot::worker]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn process() -> Process {
    Process::new().unwrap()
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

/// Waits until a process sleeps, and has done so for some time.
fn sleeps(pid: u32) {
    let mut since = None;
    eventually(DEADLINE, "it sleeps", || {
        let asleep = state(pid) == Some('S');
        since = if asleep { since.or_else(|| Some(Instant::now())) } else { None };
        since.is_some_and(|s| s.elapsed() > Duration::from_millis(100))
    });
}

/// One call after the other: nobody but this thread is needed.
fn one_thread() {
    let rpc = process().rpc(add).start().unwrap();
    for n in 0..1000 {
        assert_eq!(rpc.call((n, 1)).wait().unwrap(), n + 1);
    }
    let mut call = rpc.call((1, 1));
    while call.wait_timeout(Duration::from_millis(1)).unwrap().is_none() {}
    assert_eq!(offshoot::spawn(add, (2, 3)).unwrap().wait().unwrap(), 5);
    assert!(rpc.finish().unwrap().success());
    println!("threads: {}", threads());
}

/// A parent that does not read: the worker waits, and keeps nothing.
fn unread() {
    let rpc = process().rpc(chatter).start().unwrap();
    assert_eq!(rpc.call(1).wait().unwrap(), 1);
    let pid = rpc.id().unwrap();
    let name = pid.to_string();
    let before = (memory(&name), peak_memory("self"));
    let calls = [300, 1, 1].map(|events| rpc.call(events));
    sleeps(pid);
    let now = memory(&name);
    assert!(now < before.0 + 4 * MIB, "the worker has {now} bytes, not {}", before.0);
    // 19 MiB of them, which nobody wants.
    for call in calls {
        call.wait().unwrap();
    }
    let peak = peak_memory(&name);
    assert!(peak < before.0 + 4 * MIB, "the worker had {peak} bytes");
    let grown = peak_memory("self") - before.1;
    assert!(grown < 4 * MIB, "the parent had {grown} bytes more");
    assert!(rpc.finish().unwrap().success());
    println!("bounded");
}

fn flooded<A: Clone + 'static>(rpc: &Rpc<A, u64>, args: A) -> Vec<offshoot::Call<u64>> {
    let mut calls = Vec::new();
    loop {
        match rpc.try_call(args.clone()) {
            Ok(call) => calls.push(call),
            Err(refused) => {
                assert!(refused.is_full(), "{refused}");
                return calls;
            }
        }
    }
}

/// A worker that does not read: calls are refused before they fill the memory.
fn flood() {
    let rpc = process().rpc(take).start().unwrap();
    // One that is stopped before its first instruction could not hear of its end.
    assert_eq!(rpc.call(vec![7; 16 << 10]).wait().unwrap(), 16 << 10);
    let (pid, before) = (rpc.id().unwrap(), peak_memory("self"));
    signal(pid, Signal::SIGSTOP);
    let calls = flooded(&rpc, vec![7; 16 << 10]);
    assert!(calls.len() < 200, "{} calls of 16 KiB", calls.len());
    let grown = peak_memory("self") - before;
    assert!(grown < 8 * MIB, "the parent has {grown} bytes more");
    // One that waits for room gets it.
    std::thread::scope(|s| {
        let waits = s.spawn(|| rpc.call(vec![7; 3]).wait().unwrap());
        signal(pid, Signal::SIGCONT);
        for call in calls {
            assert_eq!(call.wait().unwrap(), 16 << 10);
        }
        assert_eq!(waits.join().unwrap(), 3);
    });
    let small = process().rpc(take).start().unwrap();
    assert_eq!(small.call(vec![]).wait().unwrap(), 0);
    signal(small.id().unwrap(), Signal::SIGSTOP);
    assert_eq!(flooded(&small, vec![]).len(), 1024);
    println!("bounded");
}

/// CPU time of a process so far.
fn cpu_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// After short calls in a row, which are spun for, nobody spins on. In ticks of 10 ms.
fn idle() {
    let watched = process().rpc(add).on_event(drop).start().unwrap();
    let plain = process().rpc(add).start().unwrap();
    for n in 0..2000 {
        assert_eq!(watched.call((n, 1)).wait().unwrap(), n + 1);
        assert_eq!(plain.call((n, 1)).wait().unwrap(), n + 1);
    }
    let pids = [std::process::id(), watched.id().unwrap(), plain.id().unwrap()];
    let before = pids.map(cpu_time);
    std::thread::sleep(Duration::from_secs(1));
    let used: Vec<_> = pids.iter().zip(before).map(|(pid, b)| cpu_time(*pid) - b).collect();
    // One that spins uses 100 of them, however busy the machine is: its share.
    assert!(used.iter().all(|ticks| *ticks <= 3), "{used:?} ticks");
    println!("idle");
}

/// Workers in the midst of a call, and one that waits for one.
fn killed() {
    let rpcs = [process(), process()].map(|p| p.rpc(spin).start().unwrap());
    let _calls: Vec<_> = rpcs.iter().map(|rpc| rpc.call(())).collect();
    let idle = process().rpc(add).start().unwrap();
    assert_eq!(idle.call((1, 2)).wait().unwrap(), 3);
    for rpc in &rpcs {
        let pid = rpc.id().unwrap();
        eventually(DEADLINE, "it spins", || cpu_time(pid) > 0);
    }
    println!("running");
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

/// Many calls with a deadline each: no thread for each.
fn deadlines() {
    let time = Duration::from_millis(300);
    let rpc = process().rpc(spin).timeout(time).start().unwrap();
    let begin = Instant::now();
    let calls: Vec<_> = (0..1000).map(|_| rpc.call(())).collect();
    assert_eq!(threads(), 2, "this one, and the one that keeps all times");
    for call in calls {
        let error = call.wait().unwrap_err();
        assert!(error.is_timeout() || error.was_started() == Some(false), "{error}");
    }
    assert!(begin.elapsed() >= time);
    assert_eq!(threads(), 2);
    println!("two threads");
}

/// Spares of a pool that are never told what they are end without a complaint.
fn spares() {
    let pool = Pool::builder(add).max(2).spares(2).build().unwrap();
    assert_eq!(pool.call((1, 2)).wait().unwrap(), 3);
    pool.finish().unwrap();
    let pool = Pool::builder(add_later).max(2).spares(2).build().unwrap();
    assert_eq!(pool.call((1, 2)).wait().unwrap(), 3);
    pool.finish().unwrap();
    println!("ended");
}

/// What a synchronous worker is: one thread, a few descriptors, little memory.
fn tiny() {
    let rpc = process().rpc(look).start().unwrap();
    let (threads, fds, _) = rpc.call(()).wait().unwrap();
    assert_eq!((threads, fds), (1, 5), "0, 1, 2, the stream, by which it reads and writes");
    let calls: Vec<_> = (0..10_000).map(|_| rpc.call(())).collect();
    for call in calls {
        call.wait().unwrap();
    }
    // Memory that is shared for replies is no descriptor, and not its own.
    let (threads, fds, memory) = rpc.call(()).wait().unwrap();
    assert_eq!((threads, fds), (1, 5));
    assert!(memory < MIB, "{memory} bytes of its own");
    println!("tiny");
}

#[offshoot::main]
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("one_thread") => one_thread(),
        Some("unread") => unread(),
        Some("flood") => flood(),
        Some("idle") => idle(),
        Some("killed") => killed(),
        Some("fork") => forks::fork(),
        Some("fork_busy") => forks::fork_busy(),
        Some("fork_exited") => forks::fork_exited(),
        Some("kept") => locals::kept(),
        Some("last_words") => locals::last_words(),
        Some("deadlines") => deadlines(),
        Some("tiny") => tiny(),
        Some("spares") => spares(),
        other => panic!("{other:?} is no scene"),
    }
}
