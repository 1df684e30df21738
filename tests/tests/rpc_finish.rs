//! How a connection ends when nothing went wrong, or its handles are dropped.

use std::io::{PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use offshoot::{Context, Process, Rpc, RpcBuilder, RunArgs};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

fn writer(queued: RunArgs) -> PipeWriter {
    PipeWriter::from(queued.fds.into_iter().next().expect("one was sent"))
}

/// Writes its argument to a pipe.
#[offshoot::worker(init = writer)]
fn tell(pipe: &mut PipeWriter, n: u8) -> Vec<u8> {
    pipe.write_all(&[n]).unwrap();
    // Large, so that somebody has to read.
    vec![n; 100_000]
}

/// The same, with a small answer.
#[offshoot::worker(init = writer)]
fn whisper(pipe: &mut PipeWriter, n: u8) -> u8 {
    pipe.write_all(&[n]).unwrap();
    n
}

/// Makes so many events, and returns the number.
#[offshoot::worker]
fn announce(cx: &Context<u32>, events: u32) -> u32 {
    (0..events).for_each(|n| cx.event(&n));
    events
}

#[offshoot::worker]
fn die(status: i32) {
    std::process::exit(status);
}

fn announcer() -> RpcBuilder<u32, u32, u32> {
    Process::new().unwrap().rpc(announce)
}

/// What the callbacks were called with, in order, until they are dropped.
fn listened<A: 'static, R: Send + 'static>(
    builder: RpcBuilder<A, R, u32>,
) -> (Rpc<A, R, u32>, mpsc::Receiver<String>) {
    let (sender, receiver) = mpsc::channel();
    let [event, error, destroy] = [sender.clone(), sender.clone(), sender];
    let rpc = builder
        .on_event(move |n| event.send(format!("event {n}")).unwrap())
        .on_error(move |e| error.send(format!("error {e}")).unwrap())
        .on_destroy(move || destroy.send("destroy".to_owned()).unwrap())
        .start()
        .unwrap();
    (rpc, receiver)
}

#[test]
fn what_was_called_is_done_although_all_handles_are_dropped() {
    within(DEADLINE, || {
        for order in 0..3 {
            let (mut pipe, theirs) = std::io::pipe().unwrap();
            let process = Process::new().unwrap().send_fd(OwnedFd::from(theirs));
            let rpc = process.rpc(tell).start().unwrap();
            let calls: Vec<_> = (0..200).map(|n| rpc.call(n)).collect();
            match order {
                0 => drop((calls, rpc)),
                1 => drop((rpc, calls)),
                _ => {
                    let mut calls = calls.into_iter();
                    drop(calls.nth(3));
                    drop(rpc);
                    assert_eq!(calls.next().unwrap().wait().unwrap()[0], 4);
                }
            }
            let mut told = Vec::new();
            pipe.read_to_end(&mut told).unwrap();
            assert_eq!(told, (0..200).collect::<Vec<u8>>(), "order {order}");
        }
    });
}

#[test]
fn calls_are_sent_although_nobody_waits() {
    within(DEADLINE, || {
        let (mut pipe, theirs) = std::io::pipe().unwrap();
        let process = Process::new().unwrap().send_fd(OwnedFd::from(theirs));
        let rpc = process.rpc(whisper).start().unwrap();
        let mut kept = Vec::new();
        // All of them seem to be open to one who does not read the answers.
        for count in [200, 1, 20, 3] {
            kept.extend((0..count).map(|n| rpc.call(n)));
            let mut told = vec![0; usize::from(count)];
            pipe.read_exact(&mut told).unwrap();
            assert_eq!(told, (0..count).collect::<Vec<u8>>());
        }
        assert!(kept.into_iter().all(|call| call.wait().is_ok()));
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn calls_are_waited_for_after_the_drop() {
    within(DEADLINE, || {
        let rpc = announcer().start().unwrap();
        let calls: Vec<_> = (0..50).map(|n| rpc.call(n)).collect();
        drop(rpc);
        for (n, call) in (0..).zip(calls) {
            assert_eq!(call.wait().unwrap(), n);
        }
        let rpc = announcer().start().unwrap();
        let receiver = rpc.call(3).into_receiver();
        drop(rpc);
        assert_eq!(receiver.recv().unwrap().unwrap(), 3);
    });
}

#[test]
fn dropping_calls_on_destroy_once_behind_everything() {
    within(DEADLINE, || {
        let (rpc, heard) = listened(announcer());
        drop((0..3).map(|n| rpc.call(n)).collect::<Vec<_>>());
        drop(rpc);
        let all: Vec<_> = heard.iter().collect();
        assert_eq!(all, ["event 0", "event 0", "event 1", "destroy"]);
        let (rpc, heard) = listened(announcer());
        let call = rpc.call(1);
        assert!(rpc.finish().unwrap().success());
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["event 0", "destroy"]);
        assert_eq!(call.wait().unwrap(), 1);
        let (rpc, heard) = listened(announcer());
        drop(rpc);
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["destroy"]);
    });
}

#[test]
fn an_error_is_told_once_and_then_nothing_is() {
    within(DEADLINE, || {
        for finishes in [true, false] {
            let (sender, heard) = mpsc::channel();
            let destroyed = sender.clone();
            let rpc = Process::new()
                .unwrap()
                .rpc(die)
                .on_error(move |e| sender.send(e.exit_status().unwrap().code()).unwrap())
                .on_destroy(move || destroyed.send(None).unwrap())
                .start()
                .unwrap();
            let calls: Vec<_> = (7..10).map(|n| rpc.call(n)).collect();
            if finishes {
                assert!(rpc.finish().unwrap_err().is_disconnected());
            } else {
                drop(rpc);
            }
            assert_eq!(heard.iter().collect::<Vec<_>>(), [Some(7)]);
            for call in calls {
                assert!(call.wait().unwrap_err().is_disconnected());
            }
        }
    });
}

#[test]
fn calls_behind_the_end_fail_with_it() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(die).start().unwrap();
        assert!(rpc.call(5).wait().is_err());
        for _ in 0..3 {
            let late = [
                rpc.call(1).wait().unwrap_err(),
                rpc.try_call(1).unwrap_err().error,
                rpc.call(1).into_receiver().recv().unwrap().unwrap_err(),
                offshoot_tests::block_on::block_on(rpc.call(1)).unwrap_err(),
            ];
            for error in late {
                assert_eq!(error.exit_status().unwrap().code(), Some(5));
                assert_eq!(error.was_started(), Some(false));
            }
        }
    });
}

#[test]
fn the_channel_of_events_ends_with_the_process() {
    within(DEADLINE, || {
        let rpc = announcer().start().unwrap();
        let events = rpc.events();
        assert_eq!(rpc.call(3).wait().unwrap(), 3);
        rpc.kill().unwrap();
        assert_eq!(events.iter().collect::<Vec<_>>(), [0, 1, 2]);
        // It has ended already.
        assert_eq!(rpc.events().iter().count(), 0);
    });
}
