//! Workers with `Done`: calls at once, replies in any order, events in between.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use offshoot::{Context, Done, Fd, Process, RunArgs};
use offshoot_tests::block_on::{all, block_on};
use offshoot_tests::hear::{Gate, Log, pass};
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

/// Holds the worker up until all calls have been made.
fn held(queued: RunArgs) {
    pass(&queued.fds[0]);
}

fn new_held() -> (Gate, Process) {
    let (gate, passer) = Gate::new();
    (gate, Process::new().unwrap().send_fd(passer.into_owned().unwrap()))
}

#[derive(Serialize, Deserialize)]
enum Command {
    Rmdir,
    Unlink,
}

fn from_zero(queued: RunArgs) -> u64 {
    held(queued);
    0
}

#[offshoot::worker(init = from_zero)]
fn run(
    count: &mut u64,
    cx: &Context<u64>,
    done: Done<Result<(), String>>,
    command: Command,
    path: String,
) {
    *count += 1;
    if count.is_multiple_of(3) {
        cx.event(count);
    }
    let status = match command {
        Command::Rmdir => std::fs::remove_dir(path),
        Command::Unlink => std::fs::remove_file(path),
    };
    done.complete(status.map_err(|e| e.kind().to_string()));
}

#[test]
fn example_1a_of_the_seed() {
    within(DEADLINE, || {
        let (gate, process) = new_held();
        let (log, heard) = (Log::default(), Log::default());
        let said = heard.clone();
        let rpc = process
            .rpc(run)
            .on_event(move |n| said.note(format!("{n} requests handled")))
            .start()
            .unwrap();
        let mut calls = Vec::new();
        for id in 1..=6 {
            let path = format!("/tmp/somepath/that/is/not/{id}");
            let mut call = rpc.call((Command::Rmdir, path));
            heard.hear(&mut call, id);
            calls.push((id, call));
        }
        let unlink = rpc.call((Command::Unlink, "/tmp/somepath/that/is/not".into()));
        drop(gate);
        rpc.finish().unwrap();
        for (id, call) in calls {
            log.note(format!("{id}: {}", call.wait().unwrap().unwrap_err()));
        }
        assert_eq!(unlink.wait().unwrap(), Err("entity not found".to_owned()));
        let order = ["1", "2", "3 requests handled", "3", "4", "5", "6 requests handled", "6"];
        assert_eq!(heard.lines(), order);
        assert_eq!(
            log.lines(),
            (1..=6).map(|n| format!("{n}: entity not found")).collect::<Vec<_>>()
        );
    });
}

struct Countdown {
    done: Done<()>,
    cx: Context<String>,
    n: u32,
    of: u32,
}

/// Ticks once three countdowns are there, and goes on until they have come to their end.
/// Like the seed's timers, those set again last are the first in the next tick.
fn tick(started: &Receiver<Countdown>) {
    let mut running: Vec<_> = started.iter().take(3).collect();
    while !running.is_empty() {
        let mut next = Vec::new();
        for mut countdown in running {
            countdown.n += 1;
            countdown.cx.event(&format!("count {} of {}", countdown.n, countdown.of));
            if countdown.n == countdown.of {
                countdown.done.complete(());
            } else {
                next.insert(0, countdown);
            }
        }
        running = next;
    }
}

fn ticker(queued: RunArgs) -> Sender<Countdown> {
    held(queued);
    let (sender, receiver) = channel();
    thread::spawn(move || tick(&receiver));
    sender
}

#[offshoot::worker(init = ticker)]
fn count_up(ticker: &mut Sender<Countdown>, cx: &Context<String>, done: Done<()>, of: u32) {
    cx.event(&format!("starting to count up to {of}"));
    ticker.send(Countdown { done, cx: cx.clone(), n: 0, of }).unwrap();
}

#[test]
fn example_2_of_the_seed() {
    within(DEADLINE, || {
        let (gate, process) = new_held();
        let log = Log::default();
        let said = log.clone();
        let rpc = process.rpc(count_up).on_event(move |line| said.note(line)).start().unwrap();
        let mut calls: Vec<_> = [3, 2, 1].into_iter().map(|n| (n, rpc.call(n))).collect();
        for (n, call) in &mut calls {
            log.hear(call, format!("job {n} finished"));
        }
        drop(gate);
        rpc.finish().unwrap();
        let order = [
            "starting to count up to 3",
            "starting to count up to 2",
            "starting to count up to 1",
            "count 1 of 3",
            "count 1 of 2",
            "count 1 of 1",
            "job 1 finished",
            "count 2 of 2",
            "job 2 finished",
            "count 2 of 3",
            "count 3 of 3",
            "job 3 finished",
        ];
        assert_eq!(log.lines(), order);
    });
}

/// Answers once its gate is open, by a thread of its own.
#[offshoot::worker]
fn behind(cx: &Context<u64>, done: Done<u64>, gate: Fd, n: u64) {
    cx.event(&n);
    thread::spawn(move || {
        pass(gate);
        done.complete(n);
    });
}

#[test]
fn replies_come_as_they_are_made() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(behind).start().unwrap();
        let started = rpc.events();
        let mut open = Vec::new();
        for n in 0..5 {
            let (gate, passer) = Gate::new();
            open.push((n, gate, rpc.call((passer, n))));
            assert_eq!(started.recv().unwrap(), n, "while the others are open");
        }
        for (n, gate, call) in open.into_iter().rev() {
            drop(gate);
            assert_eq!(call.wait().unwrap(), n);
        }
        assert!(rpc.finish().unwrap().success());
    });
}

const MANY: usize = 1000;

fn nothing_yet() -> Vec<(usize, Done<usize>)> {
    Vec::new()
}

/// Answers when there are very many of them, the last one first.
#[offshoot::worker(init = nothing_yet)]
fn gather(open: &mut Vec<(usize, Done<usize>)>, done: Done<usize>, n: usize) {
    open.push((n, done));
    if open.len() == MANY {
        while let Some((n, done)) = open.pop() {
            done.complete(n);
        }
    }
}

#[test]
fn a_thousand_calls_are_open_at_once() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(gather).max_in_flight(MANY).start().unwrap();
        let log = Log::default();
        let mut calls: Vec<_> = (0..MANY).map(|n| (n, rpc.call(n))).take(MANY - 1).collect();
        for (n, call) in &mut calls {
            log.hear(call, *n);
        }
        assert_eq!(rpc.call(MANY - 1).wait().unwrap(), MANY - 1);
        rpc.finish().unwrap();
        let order: Vec<_> = (0..MANY - 1).rev().map(|n| n.to_string()).collect();
        assert_eq!(log.lines(), order);
        for (n, call) in calls {
            assert_eq!(call.wait().unwrap(), n);
        }
    });
}

#[test]
fn as_many_run_as_may_and_no_more() {
    const MOST: usize = 3;
    const CALLS: u64 = 20;
    within(DEADLINE, || {
        let log = Log::default();
        let (sender, started) = channel();
        let noted = log.clone();
        let rpc = Process::new()
            .unwrap()
            .rpc(behind)
            .max_concurrent(MOST as u32)
            .on_event(move |n| {
                noted.note("start");
                sender.send(n).unwrap();
            })
            .start()
            .unwrap();
        let (mut open, mut ended) = (Vec::new(), Vec::new());
        for n in 0..CALLS {
            let (gate, passer) = Gate::new();
            let mut call = rpc.call((passer, n));
            log.hear(&mut call, "end");
            open.push((n, gate, call));
        }
        let mut running = Vec::new();
        for next in 0..CALLS + MOST as u64 {
            if next >= MOST as u64 {
                // Not in the order in which they were started.
                let n: u64 = running.swap_remove(next as usize % running.len());
                let at = open.iter().position(|(m, ..)| *m == n).unwrap();
                let (_, gate, call) = open.remove(at);
                drop(gate);
                ended.push((n, call));
            }
            if next < CALLS {
                assert_eq!(started.recv().unwrap(), next, "in the order of the calls");
                running.push(next);
            }
        }
        rpc.finish().unwrap();
        let (mut now, mut most) = (0, 0);
        for line in log.lines() {
            now = if line == "start" { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        assert_eq!((now, most), (0, MOST));
        for (n, call) in ended {
            assert_eq!(call.wait().unwrap(), n);
        }
    });
}

/// Numbers events and replies under one lock, from several threads.
#[offshoot::worker(init = held)]
fn numbered(_state: &mut (), cx: &Context<u64>, done: Done<u64>, events: u64) {
    static NUMBER: Mutex<u64> = Mutex::new(0);
    let cx = cx.clone();
    thread::spawn(move || {
        for _ in 0..events {
            let mut number = NUMBER.lock().unwrap();
            *number += 1;
            cx.event(&number);
        }
        let mut number = NUMBER.lock().unwrap();
        *number += 1;
        done.complete(*number);
    });
}

#[test]
fn events_and_replies_of_many_threads_keep_their_order() {
    const CALLS: u64 = 200;
    const EVENTS: u64 = 20;
    within(DEADLINE, || {
        let (gate, process) = new_held();
        let log = Log::default();
        let said = log.clone();
        let rpc = process.rpc(numbered).on_event(move |n| said.note(n)).start().unwrap();
        let mut calls: Vec<_> = (0..CALLS).map(|_| rpc.call(EVENTS)).collect();
        for (index, call) in calls.iter_mut().enumerate() {
            log.hear(call, format!("reply {index}"));
        }
        drop(gate);
        rpc.finish().unwrap();
        let replies: Vec<u64> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
        let number = |line: &String| match line.strip_prefix("reply ") {
            Some(index) => replies[index.parse::<usize>().unwrap()],
            None => line.parse().unwrap(),
        };
        let numbers: Vec<u64> = log.lines().iter().map(number).collect();
        assert_eq!(numbers, (1..=CALLS * (EVENTS + 1)).collect::<Vec<_>>());
    });
}

#[test]
fn they_are_awaited_by_any_executor() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(gather).start().unwrap();
        let calls = (0..MANY).map(|n| rpc.call(n)).collect();
        let answers: Vec<_> = block_on(all(calls)).into_iter().map(Result::unwrap).collect();
        assert!(answers.into_iter().eq(0..MANY));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let calls: Vec<_> = (0..MANY).map(|n| rpc.call(n)).collect();
            for (n, call) in calls.into_iter().enumerate() {
                assert_eq!(call.await.unwrap(), n);
            }
        });
        rpc.finish().unwrap();
    });
}

#[test]
fn a_call_awaits_room() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(behind).max_in_flight(2).start().unwrap();
        let (first, passer) = Gate::new();
        let one = rpc.call((passer, 1));
        let (second, passer) = Gate::new();
        let two = rpc.call((passer, 2));
        let (third, passer) = Gate::new();
        assert!(rpc.try_call((passer.clone(), 3)).unwrap_err().is_full());
        drop(third);
        let opener = thread::spawn(move || drop(second));
        let three = block_on(rpc.call_async((passer, 3)));
        opener.join().unwrap();
        assert_eq!(three.wait().unwrap(), 3, "though the first is still open");
        assert_eq!(two.wait().unwrap(), 2);
        drop(first);
        assert_eq!(one.wait().unwrap(), 1);
        rpc.finish().unwrap();
    });
}
