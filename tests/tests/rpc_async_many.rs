//! Many calls of a worker with `Done` at a time: as many as one likes, or as may be; waited
//! for by whatever executor.

use std::sync::mpsc::channel;
use std::thread;

use offshoot::{Done, Process};
use offshoot_tests::block_on::{all, block_on};
use offshoot_tests::hear::{Gate, Log, behind};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

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
