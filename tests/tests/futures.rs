//! The end of a process as a future, without a runtime, and as a channel.

use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Select, after, select};
use offshoot::{Args, Child, Exited, Process};
use offshoot_tests::block_on::{Bell, all, block_on};
use offshoot_tests::entries::{tell, until_told};
use offshoot_tests::{DEADLINE, eventually, output_of, within};

offshoot::early!();

#[offshoot::setup]
fn nothing(_: Args) {}

fn child() -> Child {
    Process::new().unwrap().run(until_told).unwrap()
}

fn children(count: usize) -> Vec<Child> {
    (0..count).map(|_| child()).collect()
}

fn poll(future: &mut Exited, bell: &Arc<Bell>) -> Option<i32> {
    match Pin::new(future).poll(&mut Context::from_waker(&Arc::clone(bell).into())) {
        Poll::Ready(status) => Some(status.unwrap().code().unwrap()),
        Poll::Pending => None,
    }
}

#[test]
fn a_future_is_ready_at_the_end() {
    within(DEADLINE, || {
        let child = child();
        let (bell, mut future) = (Bell::new(), child.exited());
        assert_eq!(poll(&mut future, &bell), None);
        assert_eq!(poll(&mut future, &bell), None);
        assert_eq!(bell.rings(), 0);
        tell(&child, 3);
        eventually(DEADLINE, "it is woken", || bell.rings() > 0);
        assert_eq!(poll(&mut future, &bell), Some(3));
        assert_eq!(bell.rings(), 1);
        // Another one, when the end is known.
        assert_eq!(block_on(child.exited()).unwrap().code(), Some(3));
    });
}

#[test]
fn a_future_wakes_the_last_who_polled_it() {
    within(DEADLINE, || {
        let child = child();
        let (first, last, mut future) = (Bell::new(), Bell::new(), child.exited());
        assert_eq!(poll(&mut future, &first), None);
        assert_eq!(poll(&mut future, &last), None);
        tell(&child, 4);
        eventually(DEADLINE, "it is woken", || last.rings() > 0);
        assert_eq!((first.rings(), last.rings()), (0, 1));
    });
}

#[test]
fn many_futures_at_once() {
    within(DEADLINE, || {
        let children = children(40);
        let futures: Vec<Exited> = children.iter().map(Child::exited).collect();
        thread::scope(|s| {
            s.spawn(|| (0..40).for_each(|i| tell(&children[i * 7 % 40], (i * 7 % 40) as u8)));
            let codes = block_on(all(futures)).into_iter().map(|s| s.unwrap().code().unwrap());
            assert!(codes.eq(0..40));
        });
    });
}

#[test]
fn several_futures_of_one_child() {
    within(DEADLINE, || {
        let child = child();
        let (bell, mut dropped) = (Bell::new(), child.exited());
        assert_eq!(poll(&mut dropped, &bell), None);
        thread::scope(|s| {
            let waiters: Vec<_> = (0..4)
                .map(|_| s.spawn(|| block_on(all(vec![child.exited(), child.exited()]))))
                .collect();
            drop(dropped);
            tell(&child, 8);
            for waiter in waiters {
                let codes = waiter.join().unwrap().into_iter().map(|s| s.unwrap().code().unwrap());
                assert!(codes.eq([8, 8]));
            }
        });
        assert_eq!(bell.rings(), 0);
    });
}

#[test]
fn a_dropped_future_leaves_the_others_alone() {
    within(DEADLINE, || {
        for _ in 0..50 {
            let (left, kept) = (child(), child());
            let (bell, mut future) = (Bell::new(), left.exited());
            assert_eq!(poll(&mut future, &bell), None);
            drop(future);
            tell(&left, 1);
            tell(&kept, 2);
            assert_eq!(block_on(kept.exited()).unwrap().code(), Some(2));
            assert_eq!(left.wait().unwrap().code(), Some(1));
            assert_eq!(bell.rings(), 0);
        }
    });
}

/// What is waited for outlives the handle, whenever that is dropped.
#[test]
fn a_future_outlives_its_child() {
    within(DEADLINE, || {
        let bell = Bell::new();
        let (unpolled, mut polled) = {
            let (a, b) = (child(), child());
            let mut polled = b.exited();
            assert_eq!(poll(&mut polled, &bell), None);
            (a.exited(), polled)
        };
        // The end of the stream was the end of their waiting.
        assert_eq!(block_on(unpolled).unwrap().code(), Some(255));
        assert_eq!(block_on(&mut polled).unwrap().code(), Some(255));

        let first = child();
        let (mut polled, second) = (first.exited(), first.exited());
        assert_eq!(poll(&mut polled, &bell), None);
        drop(first);
        drop(polled);
        assert_eq!(block_on(second).unwrap().code(), Some(255));
    });
}

#[test]
fn a_receiver_outlives_its_child() {
    within(DEADLINE, || {
        for _ in 0..50 {
            let child = child();
            let receivers = [child.exited_receiver(), child.exited_receiver()];
            drop(child);
            for receiver in &receivers {
                assert_eq!(receiver.recv().unwrap().unwrap().code(), Some(255));
                // One message, and then no more of them.
                assert!(receiver.recv().is_err());
            }
        }
    });
}

#[test]
fn a_stream_taken_out_leaves_future_and_receiver() {
    within(DEADLINE, || {
        let child = child();
        let (future, receiver) = (child.exited(), child.exited_receiver());
        let mut stream = child.into_stream();
        stream.write_all(&[9]).unwrap();
        assert_eq!(block_on(future).unwrap().code(), Some(9));
        assert_eq!(receiver.recv().unwrap().unwrap().code(), Some(9));
    });
}

#[test]
fn receivers_are_selected_from() {
    within(DEADLINE, || {
        let [first, second] = [child(), child()];
        let [a, b] = [first.exited_receiver(), second.exited_receiver()];
        select! {
            recv(a) -> _ => panic!("the first has not ended"),
            recv(b) -> _ => panic!("the second has not ended"),
            default(Duration::from_millis(5)) => {}
        }
        tell(&second, 2);
        select! {
            recv(a) -> _ => panic!("the first has not ended"),
            recv(b) -> status => assert_eq!(status.unwrap().unwrap().code(), Some(2)),
            recv(after(DEADLINE)) -> _ => panic!("the second has ended"),
        }
        tell(&first, 1);
        select! {
            recv(a) -> status => assert_eq!(status.unwrap().unwrap().code(), Some(1)),
            recv(after(DEADLINE)) -> _ => panic!("the first has ended"),
        }
        // One made when the end is known has it at once.
        assert_eq!(first.exited_receiver().try_recv().unwrap().unwrap().code(), Some(1));
    });
}

#[test]
fn a_dropped_receiver_leaves_the_others_alone() {
    within(DEADLINE, || {
        let children = children(20);
        let receivers: Vec<_> = children.iter().map(Child::exited_receiver).collect();
        drop(children[0].exited_receiver());
        children.iter().for_each(|c| drop(c.exited_receiver()));
        (0..20).for_each(|i| tell(&children[i], i as u8));
        let mut select = Select::new();
        for (i, receiver) in receivers.iter().enumerate() {
            assert_eq!(select.recv(receiver), i);
        }
        for _ in 0..20 {
            let operation = select.select();
            let i = operation.index();
            assert_eq!(operation.recv(&receivers[i]).unwrap().unwrap().code(), Some(i as i32));
            select.remove(i);
        }
    });
}

/// Blocking waiters take the reading from the hub, and give it back, at any time.
fn mixed(template: &Process, round: usize) {
    let children: Vec<Child> =
        (0..24).map(|_| template.fork().unwrap().run(until_told).unwrap()).collect();
    thread::scope(|s| {
        for (i, child) in children.iter().enumerate() {
            s.spawn(move || {
                let status = match (i + round) % 4 {
                    0 => child.wait(),
                    1 => block_on(child.exited()),
                    2 => child.exited_receiver().recv().unwrap(),
                    _ => loop {
                        let patience = Duration::from_micros(200);
                        match child.wait_timeout(patience) {
                            Ok(None) => {}
                            Ok(Some(status)) => break Ok(status),
                            Err(error) => break Err(error),
                        }
                    },
                };
                assert_eq!(status.unwrap().code(), Some(i as i32));
            });
        }
        (0..24).for_each(|i| tell(&children[i * 5 % 24], (i * 5 % 24) as u8));
    });
}

#[test]
fn blocking_waiters_and_futures_share_a_template() {
    within(DEADLINE, || {
        let (plain, grown) = (Process::new().unwrap(), Process::new().unwrap());
        let grown = grown.setup(nothing, ["x"]);
        for round in 0..20 {
            mixed(&plain, round);
            mixed(&grown, round);
        }
    });
}

/// A blocking wait has come and gone while a future waited: somebody still reads.
#[test]
fn a_future_goes_on_after_a_blocking_wait_has_given_up() {
    within(DEADLINE, || {
        for _ in 0..30 {
            let [awaited, other] = [child(), child()];
            let (bell, mut future) = (Bell::new(), awaited.exited());
            assert_eq!(poll(&mut future, &bell), None);
            assert_eq!(other.wait_timeout(Duration::from_micros(100)).unwrap(), None);
            tell(&awaited, 5);
            assert_eq!(block_on(future).unwrap().code(), Some(5));
        }
    });
}

#[test]
fn only_the_first_future_starts_a_thread() {
    let said = output_of(env!("CARGO_BIN_EXE_threads"), &[]);
    assert_eq!(said, "blocking: 1\nfuture: 2\nmore futures: 2\n");
    let said = output_of(env!("CARGO_BIN_EXE_threads"), &["receiver"]);
    assert_eq!(said, "blocking: 1\nreceiver: 2\nmore receivers: 2\n");
}

#[test]
fn futures_and_receivers_go_on_in_a_daemon() {
    let said = output_of(env!("CARGO_BIN_EXE_threads"), &["daemon"]);
    assert_eq!(said, "blocking: 1\nin the daemon: 2 futures, 2 receivers\n");
}
