//! Workers that do not keep to the protocol: every call gets an error, soon, and the
//! worker is killed.

use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot::{Call, Context, Error, Process, Rpc};
use offshoot_tests::lying::{Lie, kind, plain_lies, tell};
use offshoot_tests::{DEADLINE, eventually, output_of, runs, state, within};

offshoot::early!();

/// A result or an event of a lie is not larger than this.
const MAX_REPLY: u32 = 200_000;

#[offshoot::worker]
fn lie(_cx: &Context<()>, lie: Lie) -> u32 {
    tell(&lie)
}

struct Liar {
    rpc: Rpc<Lie, u32, ()>,
    pid: u32,
    errors: mpsc::Receiver<Error>,
}

impl Liar {
    fn start() -> Liar {
        let (sender, errors) = mpsc::channel();
        let rpc = Process::new()
            .unwrap()
            .rpc(lie)
            .max_reply(MAX_REPLY)
            .on_event(|()| {})
            .on_error(move |e| sender.send(e).unwrap())
            .start()
            .unwrap();
        let pid = rpc.id().unwrap();
        Liar { rpc, pid, errors }
    }

    /// Calls that are all made before the worker hears of the first: the number of one that has
    /// been answered is used again.
    fn calls<const N: usize>(&self, lies: [Lie; N]) -> [Call<u32>; N] {
        let pid = Pid::from_raw(self.pid as i32);
        kill(pid, Signal::SIGSTOP).unwrap();
        eventually(DEADLINE, "it has stopped", || state(self.pid) == Some('T'));
        let calls = lies.map(|told| self.rpc.call(told));
        kill(pid, Signal::SIGCONT).unwrap();
        calls
    }

    /// The end, which is told once; the process is gone.
    fn ends(self) -> Error {
        let end = self.rpc.finish().unwrap_err();
        assert!(!runs(self.pid), "it was killed");
        let told = self.errors.recv().unwrap();
        assert_eq!(told.to_string(), end.to_string());
        assert!(self.errors.recv().is_err(), "it is told once");
        end
    }
}

#[test]
fn calls_of_a_liar_fail_and_it_is_killed() {
    within(DEADLINE, || {
        for told in plain_lies() {
            let liar = Liar::start();
            let first = liar.rpc.call(told.clone());
            let behind: Vec<_> = (0..3).map(|_| liar.rpc.call(Lie::None)).collect();
            // A true answer may come with the lie.
            match first.wait() {
                Ok(answer) => assert_eq!((answer, &told), (5, &Lie::StrayFd)),
                Err(error) => assert!(error.is_protocol(), "{told:?}: {error}"),
            }
            for call in behind {
                let error = call.wait().unwrap_err();
                assert!(error.is_protocol(), "{told:?}: {error}");
            }
            assert!(liar.rpc.call(Lie::None).wait().unwrap_err().is_protocol());
            assert!(liar.ends().is_protocol(), "{told:?}");
        }
    });
}

#[test]
fn an_answer_that_comes_again_is_nobodys() {
    within(DEADLINE, || {
        let liar = Liar::start();
        let calls = liar.calls([Lie::Twice, Lie::None, Lie::None]);
        let [first, second, third] = calls.map(|c| c.wait());
        assert_eq!(first.unwrap(), 5);
        assert!(second.unwrap_err().is_protocol() && third.unwrap_err().is_protocol());
        assert!(liar.ends().is_protocol());
    });
}

#[test]
fn an_answer_to_a_call_that_was_not_sent_is_a_lie() {
    within(DEADLINE, || {
        let liar = Liar::start();
        let first = liar.rpc.call(Lie::Ahead(3));
        // Larger than what the socket takes, so the third one stays here.
        let large = liar.rpc.call(Lie::Frame(1, kind::REPLY, vec![0; 4 << 20]));
        let third = liar.rpc.call(Lie::None);
        assert_eq!(first.wait().unwrap(), 5);
        // What was sent in part may pass for what was sent.
        let _ = large.wait();
        assert!(third.wait().unwrap_err().is_protocol());
        assert!(liar.ends().is_protocol());
    });
}

#[test]
fn half_a_frame_and_death() {
    within(DEADLINE, || {
        let liar = Liar::start();
        let calls = liar.calls([Lie::HalfThenExit(7), Lie::None, Lie::None]);
        for (index, call) in calls.into_iter().enumerate() {
            let error = call.wait().unwrap_err();
            assert!(error.is_disconnected(), "{error}");
            assert_eq!(error.exit_status().unwrap().code(), Some(7));
            assert_eq!(error.was_started(), Some(index == 0));
        }
        assert_eq!(liar.ends().exit_status().unwrap().code(), Some(7));
    });
}

#[test]
fn a_worker_that_is_killed_within_an_answer() {
    within(DEADLINE, || {
        let (sender, events) = mpsc::channel();
        let rpc = Process::new()
            .unwrap()
            .rpc(lie)
            .on_event(move |()| sender.send(()).unwrap())
            .start()
            .unwrap();
        let calls = [Lie::EventThenHalf, Lie::None].map(|l| rpc.call(l));
        events.recv().unwrap();
        rpc.kill().unwrap();
        for (index, call) in calls.into_iter().enumerate() {
            let error = call.wait().unwrap_err();
            assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGKILL));
            assert_eq!(error.was_started(), Some(index == 0));
        }
    });
}

#[test]
fn a_worker_that_closes_its_stream_and_stays_is_killed() {
    within(DEADLINE, || {
        let liar = Liar::start();
        let calls = liar.calls([Lie::Close, Lie::None]);
        for (index, call) in calls.into_iter().enumerate() {
            let error = call.wait().unwrap_err();
            assert!(error.is_disconnected(), "{error}");
            assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGKILL));
            assert_eq!(error.was_started(), Some(index == 0));
        }
        liar.ends();
    });
}

#[test]
fn a_claim_of_much_is_waited_for_and_ends_with_the_worker() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(lie).start().unwrap();
        let claim = Lie::Header { length: u32::MAX, call: 1, kind: kind::REPLY, fds: 0 };
        let mut call = rpc.call(claim);
        assert!(call.wait_timeout(Duration::from_millis(50)).unwrap().is_none());
        rpc.kill().unwrap();
        assert!(call.wait().unwrap_err().is_disconnected());
    });
}

#[test]
fn no_lie_leaves_a_descriptor_behind_or_takes_memory() {
    assert_eq!(output_of(env!("CARGO_BIN_EXE_rpc_liars"), &["leaks"]), "no leak\n");
    assert_eq!(output_of(env!("CARGO_BIN_EXE_rpc_liars"), &["claim"]), "not taken\n");
}

#[test]
fn a_worker_cannot_take_the_descriptors_of_its_parent() {
    assert_eq!(output_of(env!("CARGO_BIN_EXE_rpc_liars"), &["hostages"]), "not taken\n");
}
