//! Calls that are taken back, or run out of time.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot::{Process, Rpc, RunArgs};
use offshoot_tests::lying::{Random, stay};
use offshoot_tests::{DEADLINE, sleeps, within};

offshoot::early!();

struct Ends {
    /// Told that a call has begun.
    begun: PipeWriter,
    /// Waited for by calls that wait.
    gate: PipeReader,
}

fn ends(queued: RunArgs) -> Ends {
    let [begun, gate]: [OwnedFd; 2] = queued.fds.try_into().expect("two were sent");
    Ends { begun: begun.into(), gate: gate.into() }
}

/// Notes that it was begun. 0: stays for ever. 1: waits at the gate.
#[offshoot::worker(init = ends)]
fn step(ends: &mut Ends, n: u8) -> u8 {
    ends.begun.write_all(&[n]).unwrap();
    match n {
        0 => stay(),
        1 => ends.gate.read_exact(&mut [0]).unwrap(),
        _ => {}
    }
    n
}

/// The same, of many bytes.
#[offshoot::worker(init = ends)]
fn heavy(ends: &mut Ends, n: u8, _ballast: Vec<u8>) -> u8 {
    ends.begun.write_all(&[n]).unwrap();
    n
}

struct Stepper {
    rpc: Rpc<u8, u8>,
    begun: PipeReader,
    gate: PipeWriter,
}

fn start(timeout: Option<Duration>) -> Stepper {
    let ((begun, theirs), (gate_end, gate)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let process = Process::new().unwrap().send_fd(OwnedFd::from(theirs));
    let builder = process.send_fd(OwnedFd::from(gate_end)).rpc(step);
    let builder = match timeout {
        Some(time) => builder.timeout(time),
        None => builder,
    };
    Stepper { rpc: builder.start().unwrap(), begun, gate }
}

impl Stepper {
    fn next_begun(&mut self) -> u8 {
        let mut byte = [0xff];
        self.begun.read_exact(&mut byte).unwrap();
        byte[0]
    }

    /// All that were begun since; the process has to be gone.
    fn begun(mut self) -> Vec<u8> {
        drop(self.rpc);
        let mut all = Vec::new();
        self.begun.read_to_end(&mut all).unwrap();
        all
    }
}

#[test]
fn a_call_that_has_not_been_sent_is_taken_out() {
    within(DEADLINE, || {
        let ((mut begun, theirs), (gate, _)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let process = Process::new().unwrap().send_fd(OwnedFd::from(theirs));
        let rpc = process.send_fd(OwnedFd::from(gate)).rpc(heavy).start().unwrap();
        // One that is stopped before its first instruction could not hear of its end.
        assert_eq!(rpc.call((200, vec![])).wait().unwrap(), 200);
        begun.read_exact(&mut [0]).unwrap();
        let pid = Pid::from_raw(rpc.id().unwrap() as i32);
        kill(pid, Signal::SIGSTOP).unwrap();
        // The socket takes less than half of them; the others are larger and smaller.
        let size = |n: u8| if n < 40 { 15_000 } else { 1 + usize::from(n % 3) * 9_000 };
        let calls: Vec<_> = (0..80).map(|n| (n, rpc.call((n, vec![7; size(n)])))).collect();
        let is_cancelled = |n: u8| n >= 40 && n % 4 == 1;
        calls.iter().filter(|(n, _)| is_cancelled(*n)).for_each(|(_, call)| call.cancel());
        kill(pid, Signal::SIGCONT).unwrap();
        for (n, call) in calls {
            match call.wait() {
                Ok(result) => assert!(result == n && !is_cancelled(n)),
                Err(error) => assert!(error.is_cancelled() && is_cancelled(n), "{error}"),
            }
        }
        assert!(rpc.finish().unwrap().success());
        let mut all = Vec::new();
        begun.read_to_end(&mut all).unwrap();
        assert_eq!(all, (0..80).filter(|n| !is_cancelled(*n)).collect::<Vec<u8>>());
    });
}

#[test]
fn a_call_that_waits_in_the_worker_is_skipped() {
    within(DEADLINE, || {
        let mut stepper = start(None);
        let calls = [1, 5, 6, 7].map(|n| stepper.rpc.call(n));
        assert_eq!(stepper.next_begun(), 1);
        calls[1].cancel();
        calls[3].cancel();
        stepper.gate.write_all(b"!").unwrap();
        let [one, five, six, seven] = calls.map(|c| c.wait());
        assert_eq!((one.unwrap(), six.unwrap()), (1, 6));
        assert!(five.unwrap_err().is_cancelled() && seven.unwrap_err().is_cancelled());
        // The numbers of calls are used again: it is that call alone that was skipped.
        for n in 10..60 {
            assert_eq!(stepper.rpc.call(n).wait().unwrap(), n);
        }
        let all: Vec<u8> = [6].into_iter().chain(10..60).collect();
        assert_eq!(stepper.begun(), all);
    });
}

#[test]
fn a_call_that_runs_is_ended_with_its_process() {
    within(DEADLINE, || {
        let mut stepper = start(None);
        let calls = [0, 5, 6].map(|n| stepper.rpc.call(n));
        assert_eq!(stepper.next_begun(), 0);
        calls[0].cancel();
        calls[0].cancel();
        let [zero, five, six] = calls.map(|c| c.wait().unwrap_err());
        assert!(zero.is_cancelled(), "{zero}");
        for behind in [five, six] {
            assert_eq!(behind.was_started(), Some(false));
            assert_eq!(behind.exit_status().unwrap().signal(), Some(libc::SIGKILL));
        }
        assert!(stepper.begun().is_empty());
    });
}

#[test]
fn a_call_that_runs_is_ended_although_nobody_has_read_what_came_before() {
    within(DEADLINE, || {
        let mut stepper = start(None);
        let [five, zero, six] = [5, 0, 6].map(|n| stepper.rpc.call(n));
        assert_eq!((stepper.next_begun(), stepper.next_begun()), (5, 0));
        zero.cancel();
        assert_eq!(five.wait().unwrap(), 5);
        assert!(zero.wait().unwrap_err().is_cancelled());
        let error = six.wait().unwrap_err();
        assert_eq!(error.was_started(), Some(false), "{error}");
        assert!(stepper.begun().is_empty());
    });
}

#[test]
fn a_call_that_begins_while_it_is_cancelled_is_ended() {
    within(DEADLINE, || {
        let mut random = Random::new(8);
        for _ in 0..20 {
            let stepper = start(None);
            let [five, zero, six] = [5, 0, 6].map(|n| stepper.rpc.call(n));
            (0..random.below(20_000)).for_each(|_| std::hint::spin_loop());
            zero.cancel();
            let outcome = five.wait();
            assert!(zero.wait().unwrap_err().is_cancelled());
            match six.wait() {
                Ok(n) => assert_eq!((n, outcome.unwrap()), (6, 5), "it was skipped"),
                Err(error) => assert_eq!(error.was_started(), Some(false), "{error}"),
            }
        }
    });
}

#[test]
fn a_call_that_is_done_cannot_be_cancelled() {
    within(DEADLINE, || {
        let stepper = start(None);
        let mut call = stepper.rpc.call(5);
        assert_eq!(stepper.rpc.call(6).wait().unwrap(), 6);
        call.cancel();
        assert_eq!(call.try_wait().unwrap(), Some(5));
        assert_eq!(stepper.rpc.call(7).wait().unwrap(), 7);
        assert!(stepper.rpc.finish().unwrap().success());
    });
}

#[test]
fn a_call_out_of_time_is_ended_and_the_others_are_told() {
    within(DEADLINE, || {
        // The first has to be done within that, the start of its process included.
        let stepper = start(Some(Duration::from_secs(2)));
        let (sender, receiver) = mpsc::channel();
        let calls = [5, 0, 6].map(|n| stepper.rpc.call(n).into_receiver());
        for call in calls {
            sender.send(call.recv().unwrap()).unwrap();
        }
        assert_eq!(receiver.recv().unwrap().unwrap(), 5);
        assert!(receiver.recv().unwrap().unwrap_err().is_timeout());
        let behind = receiver.recv().unwrap().unwrap_err();
        assert!(behind.is_timeout() || behind.was_started() == Some(false), "{behind}");
        let late = stepper.rpc.call(5).wait().unwrap_err();
        assert!(late.is_disconnected(), "{late}");
        let end = stepper.rpc.finish().unwrap_err();
        assert_eq!(end.exit_status().unwrap().signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn a_call_that_is_done_and_not_read_costs_no_worker() {
    within(DEADLINE, || {
        let mut stepper = start(None);
        let [five, one] = [5, 1].map(|n| stepper.rpc.call(n));
        // The worker has answered the first by the time it begins the second.
        assert_eq!((stepper.next_begun(), stepper.next_begun()), (5, 1));
        five.cancel();
        // Its template does what it is asked in order: whatever was asked for is done now.
        stepper.rpc.id().unwrap();
        stepper.gate.write_all(b"!").unwrap();
        assert_eq!(one.wait().unwrap(), 1);
        let error = five.wait().unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert_eq!(stepper.rpc.call(7).wait().unwrap(), 7);
        assert!(stepper.rpc.finish().unwrap().success());
    });
}

#[test]
fn a_call_that_waits_in_the_worker_is_skipped_though_no_more_calls_will_come() {
    within(DEADLINE, || {
        for finishes in [false, true] {
            let mut stepper = start(None);
            let calls = [1, 5, 6].map(|n| stepper.rpc.call(n));
            assert_eq!(stepper.next_begun(), 1);
            let Stepper { rpc, mut begun, mut gate } = stepper;
            let finished = if finishes {
                let (tell, told) = mpsc::channel();
                let thread = std::thread::spawn(move || {
                    tell.send(nix::unistd::gettid().as_raw() as u32).unwrap();
                    rpc.finish().unwrap()
                });
                let tid = told.recv().unwrap();
                // It has told the worker then.
                sleeps(tid);
                Some(thread)
            } else {
                drop(rpc);
                None
            };
            calls[1].cancel();
            gate.write_all(b"!").unwrap();
            let [one, five, six] = calls.map(|c| c.wait());
            assert_eq!((one.unwrap(), six.unwrap()), (1, 6));
            assert!(five.unwrap_err().is_cancelled());
            let mut all = Vec::new();
            begun.read_to_end(&mut all).unwrap();
            assert_eq!(all, [6], "five was skipped");
            assert!(finished.is_none_or(|thread| thread.join().unwrap().success()));
        }
    });
}
