//! Calls of synchronous workers: values there and back, in order, from anywhere.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex};

use offshoot::{Context, Fd, Process, RunArgs};
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle { radius: f64 },
    Named(String, BTreeMap<String, Vec<u32>>),
}

#[offshoot::worker]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[offshoot::worker]
fn same(shape: Shape) -> Result<Shape, String> {
    match shape {
        Shape::Dot => Err("a dot is nothing".to_owned()),
        other => Ok(other),
    }
}

#[offshoot::worker]
fn pid() -> u32 {
    std::process::id()
}

#[offshoot::worker]
fn every_third(cx: &Context<u64>, n: u64) -> u64 {
    if n.is_multiple_of(3) {
        cx.event(&n);
    }
    n
}

struct Counter {
    from: String,
    count: u64,
}

fn counter(queued: RunArgs, start: u64) -> Result<Counter, String> {
    let from = queued.args.first().ok_or("no name was sent")?;
    Ok(Counter { from: String::from_utf8_lossy(from).into_owned(), count: start })
}

#[offshoot::worker(init = counter)]
fn count(counter: &mut Counter, by: u64) -> String {
    counter.count += by;
    format!("{} {}", counter.from, counter.count)
}

#[test]
fn a_call_of_a_process_of_its_own() {
    within(DEADLINE, || {
        assert_eq!(offshoot::spawn(add, (2, 3)).unwrap().wait().unwrap(), 5);
        assert_ne!(offshoot::spawn(pid, ()).unwrap().wait().unwrap(), std::process::id());
        assert_eq!(add(4, 5), 9, "it still is a function");
    });
}

#[test]
fn values_come_back_and_so_do_errors_of_the_function() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(same).start().unwrap();
        let named = Shape::Named("x".into(), BTreeMap::from([("y".into(), vec![1, 2])]));
        for shape in [Shape::Circle { radius: 1.5 }, named] {
            assert_eq!(rpc.call(shape.clone()).wait().unwrap(), Ok(shape));
        }
        assert_eq!(rpc.call(Shape::Dot).wait().unwrap(), Err("a dot is nothing".to_owned()));
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn state_is_made_once_and_kept() {
    within(DEADLINE, || {
        let process = Process::new().unwrap().send_arg("sum");
        let rpc = process.rpc(count).init(10u64).start().unwrap();
        let calls: Vec<_> = (1..=3).map(|n| rpc.call(n)).collect();
        let said: Vec<_> = calls.into_iter().map(|c| c.wait().unwrap()).collect();
        assert_eq!(said, ["sum 11", "sum 13", "sum 16"]);
    });
}

#[test]
fn events_and_replies_keep_their_order() {
    within(DEADLINE, || {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let rpc = Process::new()
            .unwrap()
            .rpc(every_third)
            .on_event(move |n| heard.lock().unwrap().push(format!("event {n}")))
            .start()
            .unwrap();
        for n in 1..=6 {
            let heard = Arc::clone(&said);
            rpc.call_then(n, move |n| heard.lock().unwrap().push(format!("reply {}", n.unwrap())));
        }
        rpc.finish().unwrap();
        let said = said.lock().unwrap();
        let expected = [
            "reply 1", "reply 2", "event 3", "reply 3", "reply 4", "reply 5", "event 6", "reply 6",
        ];
        assert_eq!(*said, expected);
    });
}

#[offshoot::worker]
fn step(gate: Option<Fd>) {
    if let Some(gate) = gate {
        // Until the parent lets go of the other end.
        let mut gate = std::fs::File::from(gate.into_owned().unwrap());
        gate.read_to_end(&mut Vec::new()).unwrap();
    }
}

#[test]
fn no_reply_waits_for_the_next_call() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(step).start().unwrap();
        for _ in 0..20 {
            let (reader, writer) = std::io::pipe().unwrap();
            let quick: Vec<_> = (0..500).map(|_| rpc.call(None)).collect();
            let slow = rpc.call(Some(reader.into()));
            for call in quick {
                call.wait().unwrap();
            }
            drop(writer);
            slow.wait().unwrap();
        }
    });
}

#[offshoot::worker]
fn flushes_and_aborts(cx: &Context<u64>, events: u64) {
    for n in 0..events {
        cx.event(&n);
    }
    cx.flush();
    std::process::abort();
}

#[test]
fn what_was_flushed_survives_the_process() {
    within(DEADLINE, || {
        for events in [1, 2000] {
            let rpc = Process::new().unwrap().rpc(flushes_and_aborts).start().unwrap();
            let heard = rpc.events();
            let error = rpc.call(events).wait().unwrap_err();
            assert_eq!(error.exit_status().unwrap().signal(), Some(6), "{error}");
            assert!(heard.iter().eq(0..events));
        }
    });
}

#[test]
fn many_calls_are_in_flight() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(add).start().unwrap();
        let calls: Vec<_> = (0..100_000).map(|n| (n, rpc.call((n, 1)))).collect();
        for (n, call) in calls {
            assert_eq!(call.wait().unwrap(), n + 1);
        }
    });
}
