//! Who waits for room for a call gets it as soon as there is some, whoever makes it.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::task::{Context, Waker};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};
use offshoot::{Call, Error, Process, Rpc};
use offshoot_tests::block_on::{Bell, block_on, run_woken};
use offshoot_tests::{DEADLINE, eventually, sleeps, within};

offshoot::early!();

#[offshoot::worker]
fn count(bytes: Vec<u8>) -> usize {
    bytes.len()
}

type Counter = Rpc<Vec<u8>, usize>;

/// A worker that is stopped, with as many calls as may be: the first of them in part in the
/// socket, which is full, the other ones still here.
fn stopped(max: usize) -> (Counter, Vec<Call<usize>>) {
    let rpc = Process::new().unwrap().rpc(count).max_in_flight(max).start().unwrap();
    // One that is stopped before its first instruction could not hear of its end.
    assert_eq!(rpc.call(vec![]).wait().unwrap(), 0);
    signal(&rpc, Signal::SIGSTOP);
    let mut calls = vec![rpc.call(vec![1; 900_000])];
    calls.extend((1..max).map(|n| rpc.call(vec![2; n])));
    (rpc, calls)
}

/// Calls on a thread of its own, which has to wait for room; what it was answered, and that
/// it was made.
fn calls_elsewhere(rpc: &Arc<Counter>) -> (Receiver<()>, std::thread::JoinHandle<usize>) {
    let (sender, made) = mpsc::channel();
    let (tell, tid) = mpsc::channel();
    let rpc = Arc::clone(rpc);
    let thread = std::thread::spawn(move || {
        tell.send(gettid()).unwrap();
        let call = rpc.call(vec![3; 7]);
        sender.send(()).unwrap();
        call.wait().unwrap()
    });
    sleeps(tid.recv().unwrap().as_raw() as u32);
    (made, thread)
}

#[test]
fn a_call_that_is_taken_out_by_another_thread_makes_room() {
    within(DEADLINE, || {
        let (rpc, mut calls) = stopped(3);
        let rpc = Arc::new(rpc);
        let (made, thread) = calls_elsewhere(&rpc);
        assert!(made.try_recv().is_err());
        calls.remove(1).cancel();
        // The worker is stopped still.
        made.recv_timeout(DEADLINE / 2).expect("there is room");
        signal(&rpc, Signal::SIGCONT);
        assert_eq!(thread.join().unwrap(), 7);
        for (call, length) in calls.into_iter().zip([900_000, 2]) {
            assert_eq!(call.wait().unwrap(), length);
        }
        assert!(Arc::into_inner(rpc).unwrap().finish().unwrap().success());
    });
}

#[test]
fn of_many_who_wait_each_gets_room() {
    within(DEADLINE, || {
        let (rpc, mut calls) = stopped(6);
        let rpc = Arc::new(rpc);
        let waiting: Vec<_> = (0..4).map(|_| calls_elsewhere(&rpc)).collect();
        calls.drain(2..).for_each(|call| call.cancel());
        for (made, _) in &waiting {
            made.recv_timeout(DEADLINE / 2).expect("there is room");
        }
        signal(&rpc, Signal::SIGCONT);
        assert!(waiting.into_iter().all(|(_, thread)| thread.join().unwrap() == 7));
        assert_eq!(calls.pop().unwrap().wait().unwrap(), 1);
    });
}

#[test]
fn one_who_awaits_room_no_more_is_forgotten() {
    within(DEADLINE, || {
        let (rpc, calls) = stopped(2);
        let bell = Bell::new();
        for _ in 0..100 {
            let waker = Waker::from(Arc::clone(&bell));
            let mut waits = std::pin::pin!(rpc.call_async(vec![]));
            let mut context = Context::from_waker(&waker);
            assert!(waits.as_mut().poll(&mut context).is_pending());
            // By whichever task it is awaited.
            let other = Waker::from(Bell::new());
            let mut context = Context::from_waker(&other);
            assert!(waits.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(Arc::strong_count(&bell), 1, "nobody will wake it");
        signal(&rpc, Signal::SIGCONT);
        for (call, length) in calls.into_iter().zip([900_000, 1]) {
            assert_eq!(call.wait().unwrap(), length);
        }
    });
}

#[offshoot::worker]
fn careful(n: u32) -> u32 {
    assert!(n != 13, "{n} brings bad luck");
    n
}

/// Takes no call off its stream until it is let go.
fn held_up(max: usize) -> Rpc<u32, u32> {
    let rpc = Process::new().unwrap().rpc(careful).max_in_flight(max).start().unwrap();
    // One that is stopped before its first instruction could not hear of its end.
    assert_eq!(rpc.call(1).wait().unwrap(), 1);
    signal(&rpc, Signal::SIGSTOP);
    rpc
}

fn signal<A, R: Send + 'static>(rpc: &Rpc<A, R>, signal: Signal) {
    kill(Pid::from_raw(rpc.id().unwrap() as i32), signal).unwrap();
}

#[test]
fn a_full_connection_gives_the_arguments_back() {
    within(DEADLINE, || {
        let rpc = held_up(3);
        let calls: Vec<_> = (0..3).map(|n| rpc.try_call(n).unwrap()).collect();
        for _ in 0..2 {
            let refused = rpc.try_call(7).unwrap_err();
            assert!(refused.is_full(), "{refused}");
            assert_eq!(refused.args, 7);
            assert!(Error::from(refused).is_full());
        }
        signal(&rpc, Signal::SIGCONT);
        for (n, call) in (0..).zip(calls) {
            assert_eq!(call.wait().unwrap(), n);
        }
        assert_eq!(rpc.try_call(7).unwrap().wait().unwrap(), 7);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_call_that_waits_for_room_gets_it_or_the_error() {
    within(DEADLINE, || {
        for dies in [false, true] {
            let rpc = held_up(1);
            let first = rpc.call(1);
            std::thread::scope(|s| {
                let second = s.spawn(|| rpc.call(2).wait());
                let third = s.spawn(|| block_on(async { rpc.call_async(3).await.await }));
                if dies {
                    rpc.kill().unwrap();
                    assert!(first.wait().unwrap_err().is_disconnected());
                    for thread in [second, third] {
                        let error = thread.join().unwrap().unwrap_err();
                        assert!(error.is_disconnected(), "{error}");
                    }
                } else {
                    signal(&rpc, Signal::SIGCONT);
                    assert_eq!(first.wait().unwrap(), 1);
                    assert_eq!(second.join().unwrap().unwrap(), 2);
                    assert_eq!(third.join().unwrap().unwrap(), 3);
                }
            });
        }
    });
}

#[test]
fn of_many_who_await_room_one_is_woken_for_each_place() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(careful).max_in_flight(4).start().unwrap();
        let calls = (100..1100).map(|n| {
            let rpc = &rpc;
            async move { rpc.call_async(n).await.await.unwrap() }
        });
        let (told, woken) = run_woken(calls);
        assert_eq!(told, Vec::from_iter(100..1100));
        // Once for room and once for the result, and some in vain: more where this thread takes
        // its time. To wake all each time would be hundreds of thousands.
        assert!(woken < 20_000, "{woken}");
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn one_who_is_told_and_does_not_look_is_passed_over() {
    within(DEADLINE, || {
        for drops in [false, true] {
            let rpc = held_up(1);
            let first = rpc.call(1);
            let bells = [Bell::new(), Bell::new()];
            let awaits = |n: u32, bell: &Arc<Bell>| {
                let mut call = Box::pin(rpc.call_async(n));
                let waker = Waker::from(Arc::clone(bell));
                assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                call
            };
            let mut idle = Some(awaits(2, &bells[0]));
            let next = awaits(3, &bells[1]);
            signal(&rpc, Signal::SIGCONT);
            assert_eq!(first.wait().unwrap(), 1);
            eventually(DEADLINE, "the first is told", || bells[0].rings() > 0);
            idle.take_if(|_| drops);
            eventually(DEADLINE, "the second is told", || bells[1].rings() > 0);
            assert_eq!(block_on(async { next.await.await }).unwrap(), 3);
            let told = idle.map(|idle| block_on(async { idle.await.await }).unwrap());
            assert_eq!(told, (!drops).then_some(2));
            assert!(rpc.finish().unwrap().success());
        }
    });
}
