//! Very many calls at a time: what each of them costs does not grow with their number.

use offshoot::{Context, Done, Fd, Process};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

const MANY: u32 = 100_000;
/// Of so many, those that a busy worker has not read have room on their way.
const FEWER: u32 = 50_000;

/// Waits for its gate, if it has one.
#[offshoot::worker]
fn one_by_one(cx: &Context<()>, gate: Option<Fd>, n: u32) -> u32 {
    if let Some(gate) = gate {
        cx.event(&());
        pass(gate);
    }
    n
}

#[offshoot::worker]
fn with_done(cx: &Context<()>, done: Done<u32>, gate: Option<Fd>, n: u32) {
    let Some(gate) = gate else { return done.complete(n) };
    cx.event(&());
    std::thread::spawn(move || {
        pass(gate);
        done.complete(n);
    });
}

#[offshoot::worker]
async fn awaited(cx: Context<()>, gate: Option<Fd>, n: u32) -> u32 {
    if let Some(gate) = gate {
        let gate = tokio::net::unix::pipe::Receiver::from_owned_fd(gate.into_owned().unwrap());
        cx.event(&());
        gate.unwrap().readable().await.unwrap();
    }
    n
}

/// All wait behind one that runs; every second one is cancelled, or none.
macro_rules! crowd {
    ($worker:expr, $many:expr, $cancels:expr) => {
        within(DEADLINE, || {
            let process = Process::new().unwrap();
            let rpc = process.rpc($worker).max_in_flight($many as usize + 1).max_concurrent(1);
            let rpc = rpc.start().unwrap();
            let events = rpc.events();
            let (gate, passer) = Gate::new();
            let first = rpc.call((Some(passer), 7));
            events.recv().unwrap();
            let calls: Vec<_> = (0..$many).map(|n| rpc.call((None, n))).collect();
            if $cancels {
                calls.iter().step_by(2).for_each(|call| call.cancel());
            }
            drop(gate);
            assert_eq!(first.wait().unwrap(), 7);
            for (n, call) in (0..).zip(calls) {
                match call.wait() {
                    Ok(answer) => assert!(answer == n && (!$cancels || n % 2 == 1)),
                    Err(error) => {
                        assert!($cancels && n % 2 == 0 && error.is_cancelled(), "{error}")
                    }
                }
            }
            assert!(rpc.finish().unwrap().success());
        })
    };
}

#[test]
fn wait_for_a_synchronous_worker() {
    crowd!(one_by_one, FEWER, false);
}

#[test]
fn wait_for_one_with_done() {
    crowd!(with_done, MANY, false);
}

#[test]
fn wait_for_an_async_fn() {
    crowd!(awaited, MANY, false);
}

#[test]
fn are_cancelled_in_a_synchronous_worker() {
    crowd!(one_by_one, FEWER, true);
}

#[test]
fn are_cancelled_with_done() {
    crowd!(with_done, MANY, true);
}

#[test]
fn are_cancelled_in_an_async_fn() {
    crowd!(awaited, MANY, true);
}
