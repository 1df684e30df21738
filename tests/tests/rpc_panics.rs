//! A panic of the user's code on this side, wherever it is called, harms nobody else: not
//! the thread that hands out what has arrived, nor those who wait for their turn.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use offshoot::Fd;
use offshoot::{Call, Process, Rpc};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

/// Whether this is the worker, not the test.
static IN_WORKER: AtomicBool = AtomicBool::new(false);

/// A value that cannot be dropped in peace.
#[derive(Debug, Serialize, Deserialize)]
struct Sore(u32);

impl Drop for Sore {
    fn drop(&mut self) {
        assert!(self.0 != 13 || IN_WORKER.load(Ordering::Relaxed), "it hurts");
    }
}

/// Waits for its gate.
#[offshoot::worker]
fn sore(gate: Option<Fd>, n: u32) -> Sore {
    IN_WORKER.store(true, Ordering::Relaxed);
    gate.inspect(|gate| pass(gate));
    Sore(n)
}

fn start() -> Rpc<(Option<Fd>, u32), Sore> {
    Process::new().unwrap().rpc(sore).start().unwrap()
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("this one does not like to be woken");
    }
}

/// Has a waker that panics wait for a call.
fn await_badly(call: &mut Call<Sore>) {
    let waker = Waker::from(Arc::new(Panics));
    assert!(matches!(Pin::new(call).poll(&mut Context::from_waker(&waker)), Poll::Pending));
}

/// Served by the library's background thread alone.
fn is_served_in_background(rpc: &Rpc<(Option<Fd>, u32), Sore>) {
    for n in 0..20 {
        let (sender, told) = mpsc::channel();
        rpc.call_then((None, n), move |result| sender.send(result.unwrap().0).unwrap());
        if n != 13 {
            assert_eq!(told.recv_timeout(DEADLINE), Ok(n));
        }
        let received = rpc.call((None, 1)).into_receiver().recv_timeout(DEADLINE);
        assert_eq!(received.unwrap().unwrap().0, 1);
    }
}

#[test]
fn a_waker_that_panics_in_the_background() {
    within(DEADLINE, || {
        let rpc = start();
        let (gate, passer) = Gate::new();
        let mut call = rpc.call((Some(passer), 5));
        await_badly(&mut call);
        drop(gate);
        is_served_in_background(&rpc);
        assert_eq!(call.wait().unwrap().0, 5, "its answer is there all the same");
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_waker_that_panics_in_a_thread_that_waits() {
    within(DEADLINE, || {
        let rpc = start();
        let (gate, passer) = Gate::new();
        let mut calls: Vec<_> = (0..10).map(|n| rpc.call((Some(passer.clone()), n))).collect();
        drop(passer);
        calls[..9].iter_mut().for_each(await_badly);
        let last = calls.pop().unwrap();
        std::thread::scope(|s| {
            let waits = s.spawn(|| last.wait().unwrap().0);
            let too = s.spawn(|| rpc.call((None, 7)).wait().unwrap().0);
            drop(gate);
            assert_eq!((waits.join().unwrap(), too.join().unwrap()), (9, 7));
        });
        for (n, call) in (0..).zip(calls) {
            assert_eq!(call.wait().unwrap().0, n);
        }
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_result_that_nobody_wants_and_that_panics_when_it_is_dropped() {
    within(DEADLINE, || {
        let rpc = start();
        for waits in [false, true] {
            let (gate, passer) = Gate::new();
            let held = rpc.call((Some(passer), 1));
            // The channel is there, and nobody at its end.
            drop(rpc.call((None, 13)).into_receiver());
            drop(gate);
            if waits {
                assert_eq!(held.wait().unwrap().0, 1);
                assert_eq!(rpc.call((None, 2)).wait().unwrap().0, 2);
            } else {
                drop(held);
            }
            is_served_in_background(&rpc);
        }
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_waker_that_panics_when_the_worker_dies() {
    within(DEADLINE, || {
        let rpc = start();
        let (_gate, passer) = Gate::new();
        let mut calls: Vec<_> = (0..10).map(|n| rpc.call((Some(passer.clone()), n))).collect();
        calls[..9].iter_mut().for_each(await_badly);
        rpc.kill().unwrap();
        for call in calls {
            assert!(call.wait().unwrap_err().is_disconnected());
        }
        let other = start();
        is_served_in_background(&other);
    });
}
