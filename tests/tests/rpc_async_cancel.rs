//! Calls of workers with `Done` that are taken back, or run out of time.

use std::io::{PipeWriter, Write};
use std::thread;
use std::time::Duration;

use offshoot::{Call, Context, Done, Error, Fd, Process};
use offshoot_tests::hear::{Gate, behind, new_pipe, pass, rest_of};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Works until nobody wants the result any more, then says so on the pipe.
#[offshoot::worker]
fn until_cancelled(cx: &Context<u32>, done: Done<u32>, pipe: Fd) {
    cx.event(&std::process::id());
    thread::spawn(move || {
        while !done.is_cancelled() {
            thread::sleep(Duration::from_millis(1));
        }
        let mut pipe = PipeWriter::from(pipe.into_owned().unwrap());
        pipe.write_all(b"c").unwrap();
        done.complete(0);
    });
}

#[test]
fn a_cancelled_call_can_stop_and_the_process_goes_on() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(until_cancelled).max_in_flight(1).start().unwrap();
        let started = rpc.events();
        let mut pids = Vec::new();
        for _ in 0..3 {
            let (noticed, pipe) = new_pipe();
            let call = rpc.call(pipe);
            pids.push(started.recv().unwrap());
            call.cancel();
            assert!(call.wait().unwrap_err().is_cancelled());
            assert_eq!(rest_of(noticed), "c");
        }
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_call_that_takes_too_long_is_cancelled() {
    within(DEADLINE, || {
        let process = Process::new().unwrap();
        let rpc = process.rpc(until_cancelled).timeout(Duration::from_millis(20)).start().unwrap();
        let (noticed, pipe) = new_pipe();
        assert!(rpc.call(pipe).wait().unwrap_err().is_timeout());
        // It may not even have begun.
        assert!(["", "c"].contains(&&*rest_of(noticed)));
        assert!(rpc.finish().unwrap().success());
    });
}

/// Holds up the thread that reads.
#[offshoot::worker]
fn blocks(done: Done<()>, gate: Fd) {
    pass(gate);
    done.complete(());
}

#[test]
fn a_call_is_given_up_in_time_though_the_worker_is_blocked() {
    within(DEADLINE, || {
        let process = Process::new().unwrap();
        let rpc = process.rpc(blocks).timeout(Duration::from_millis(20)).start().unwrap();
        let (gate, passer) = Gate::new();
        assert!(rpc.call(passer).wait().unwrap_err().is_timeout());
        drop(gate);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn cancelling_reaches_a_worker_that_was_told_to_finish() {
    within(DEADLINE, || {
        let (noticed, pipe) = new_pipe();
        let call = offshoot::spawn(until_cancelled, pipe).unwrap();
        call.cancel();
        assert!(call.wait().unwrap_err().is_cancelled());
        // Whether it had been sent or not: nobody holds the pipe for long.
        assert!(["", "c"].contains(&&*rest_of(noticed)));

        let rpc = Process::new().unwrap().rpc(until_cancelled).start().unwrap();
        let started = rpc.events();
        let (noticed, pipe) = new_pipe();
        let call = rpc.call(pipe);
        started.recv().unwrap();
        drop(rpc);
        call.cancel();
        assert_eq!(rest_of(noticed), "c");
    });
}

#[test]
fn a_call_that_waits_for_its_turn_is_skipped_when_cancelled() {
    within(DEADLINE, || {
        let process = Process::new().unwrap();
        let rpc = process.rpc(behind).max_concurrent(1).max_in_flight(4).start().unwrap();
        let started = rpc.events();
        let (gate, passer) = Gate::new();
        let mut calls: Vec<_> = (0..4).map(|n| rpc.call((passer.clone(), n))).collect();
        assert_eq!(started.recv().unwrap(), 0);
        calls[1].cancel();
        calls[2].cancel();
        // There is room for these only because the two have been answered.
        calls.extend((4..6).map(|n| rpc.call((passer.clone(), n))));
        drop(gate);
        let results: Vec<_> = calls.into_iter().map(Call::wait).collect();
        rpc.finish().unwrap();
        assert_eq!(started.iter().collect::<Vec<_>>(), [3, 4, 5], "the others never began");
        assert!([0, 3, 4, 5].into_iter().all(|n| matches!(results[n], Ok(m) if m == n as u64)));
        assert!(results[1..3].iter().all(|r| r.as_ref().is_err_and(Error::is_cancelled)));
    });
}
