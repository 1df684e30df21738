//! How calls of workers that are `async fn` end otherwise: cancelled, with a panic; and how
//! such a worker ends.

use std::io::{PipeWriter, Read, Write};
use std::rc::Rc;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use offshoot::{Call, Context, Fd, Process, RunArgs};
use offshoot_tests::hear::{Gate, new_pipe, pass, rest_of};
use offshoot_tests::{DEADLINE, within};
use tokio::sync::Notify;

offshoot::early!();

/// Says on the pipe that it was dropped.
struct Dropped(PipeWriter);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.write_all(b"dropped").unwrap();
    }
}

#[offshoot::worker]
async fn for_ever(cx: Context<u32>, pipe: Fd) {
    let _dropped = Dropped(pipe.into_owned().unwrap().into());
    cx.event(&std::process::id());
    std::future::pending().await
}

#[test]
fn a_cancelled_call_is_dropped_and_the_process_goes_on() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(for_ever).max_in_flight(1).start().unwrap();
        let started = rpc.events();
        let mut pids = Vec::new();
        for _ in 0..3 {
            let (reader, pipe) = new_pipe();
            let call = rpc.call(pipe);
            pids.push(started.recv().unwrap());
            call.cancel();
            assert!(call.wait().unwrap_err().is_cancelled());
            assert_eq!(rest_of(reader), "dropped");
        }
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_call_that_takes_too_long_is_dropped() {
    within(DEADLINE, || {
        let process = Process::new().unwrap();
        let rpc = process.rpc(for_ever).timeout(Duration::from_millis(20)).start().unwrap();
        let (reader, pipe) = new_pipe();
        let call = rpc.call(pipe);
        let finished = thread::spawn(|| rpc.finish());
        assert!(call.wait().unwrap_err().is_timeout());
        assert!(["", "dropped"].contains(&&*rest_of(reader)), "it may not even have begun");
        assert!(finished.join().unwrap().unwrap().success());
    });
}

/// Waits until it is told to go on, if it is to wait.
#[offshoot::worker(init = Notify::new)]
async fn meet(go_on: Rc<Notify>, cx: Context<u32>, waits: bool, number: u32) {
    cx.event(&number);
    if waits {
        go_on.notified().await;
    }
}

#[test]
fn those_that_wait_for_their_turn_are_skipped_when_cancelled() {
    within(DEADLINE, || {
        let process = Process::new().unwrap();
        let rpc = process.rpc(meet).max_concurrent(1).max_in_flight(4).start().unwrap();
        let started = rpc.events();
        let first = rpc.call((true, 0));
        assert_eq!(started.recv().unwrap(), 0);
        let calls: Vec<_> = (1..4).map(|n| rpc.call((false, n))).collect();
        calls[0].cancel();
        calls[1].cancel();
        // There is room for these only because the two have been answered.
        let more: Vec<_> = (4..6).map(|n| rpc.call((false, n))).collect();
        first.cancel();
        drop((calls, more));
        rpc.finish().unwrap();
        assert!(first.wait().unwrap_err().is_cancelled());
        assert_eq!(started.iter().collect::<Vec<_>>(), [3, 4, 5]);
    });
}

/// Panics before or after an await, or in a result that cannot be written.
#[offshoot::worker]
async fn fails(how: u8) -> Sour {
    if how == 1 {
        panic!("before");
    }
    tokio::task::yield_now().await;
    if how == 2 {
        panic!("after");
    }
    Sour(how)
}

#[derive(serde::Deserialize)]
struct Sour(u8);

impl serde::Serialize for Sour {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            3 => panic!("very sour"),
            4 => Err(serde::ser::Error::custom("it is sour")),
            fine => serializer.serialize_u8(fine),
        }
    }
}

const PANICS: [(u8, &str); 3] = [(1, "before"), (2, "after"), (3, "very sour")];

fn panic_of(call: Call<Sour>) -> String {
    let error = call.wait().map(|_| ()).unwrap_err();
    assert!(error.panic_location().unwrap().contains("rpc_tokio_ends.rs"), "{error}");
    error.panic_message().unwrap().to_owned()
}

#[test]
fn a_panic_ends_the_worker() {
    within(DEADLINE, || {
        for (how, message) in PANICS {
            let rpc = Process::new().unwrap().rpc(fails).start().unwrap();
            assert_eq!(panic_of(rpc.call(how)), message);
            let status = rpc.finish().unwrap_or_else(|e| e.exit_status().unwrap());
            assert_eq!(status.code(), Some(101), "{message}");
        }
    });
}

#[test]
fn a_panic_is_survived_if_so_wanted() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(fails).keep_after_panic(true).start().unwrap();
        for (how, message) in PANICS {
            assert_eq!(panic_of(rpc.call(how)), message);
        }
        let error = rpc.call(4).wait().map(|_| ()).unwrap_err();
        assert!(error.is_codec(), "{error}");
        assert_eq!(rpc.call(0).wait().unwrap().0, 0);
        assert!(rpc.finish().unwrap().success());
    });
}

static LINGER: OnceLock<RunArgs> = OnceLock::new();

fn keep_fds(queued: RunArgs) {
    LINGER.get_or_init(|| queued);
}

fn linger() {
    let fds = &LINGER.get().unwrap().fds;
    let mut pipe = PipeWriter::from(fds[1].try_clone().unwrap());
    pipe.write_all(b"lingers").unwrap();
    pass(&fds[0]);
    pipe.write_all(b", ends").unwrap();
}

#[offshoot::worker(init = keep_fds, done = linger)]
async fn then_lingers(_state: Rc<()>) -> u8 {
    // Nobody waits for this one.
    tokio::task::spawn_local(std::future::pending::<()>());
    1
}

#[test]
fn a_done_function_prolongs_the_process() {
    within(DEADLINE, || {
        let (gate, passer) = Gate::new();
        let (mut reader, pipe) = new_pipe();
        let fds = [passer, pipe].map(|fd| fd.into_owned().unwrap());
        let process = fds.into_iter().fold(Process::new().unwrap(), Process::send_fd);
        assert_eq!(process.rpc(then_lingers).start().unwrap().call(()).wait().unwrap(), 1);
        let mut said = [0; 7];
        reader.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"lingers");
        drop(gate);
        assert_eq!(rest_of(reader), ", ends");
    });
}
