//! Workers with `Done`: calls at once, replies in any order, events in between.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use offshoot::{Context, Done, Process, RunArgs};
use offshoot_tests::hear::{Gate, Log, behind, pass};
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
