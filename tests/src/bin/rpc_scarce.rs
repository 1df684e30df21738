//! Plays scenes in which something cannot be had: descriptors, memory, a thread.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offshoot::{Call, Fd, Octets, Process, Rpc};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::proc::threads;
use offshoot_tests::{DEADLINE, open_fds};

const MIB: u64 = 1 << 20;

#[offshoot::worker]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[offshoot::worker]
fn wait(gate: Fd) {
    pass(gate);
}

/// As many bytes as it is told, of as many as it is given.
#[offshoot::worker(codec = Octets)]
fn exchange(_given: Bytes, wanted: String) -> Bytes {
    vec![7; wanted.parse().unwrap()].into()
}

#[offshoot::worker]
async fn add_later(a: u64, b: u64) -> u64 {
    a + b
}

fn process() -> Process {
    Process::new().unwrap()
}

fn limit(resource: Resource, soft: u64) -> u64 {
    let (before, most) = getrlimit(resource).unwrap();
    setrlimit(resource, soft, most).unwrap();
    before
}

/// Without room for one more descriptor, but for those that a scene gives up.
struct Full {
    taken: Vec<File>,
    before: u64,
}

impl Full {
    fn new() -> Full {
        let before = limit(Resource::RLIMIT_NOFILE, 100);
        let mut full = Full { taken: Vec::new(), before };
        full.fill();
        full
    }

    fn fill(&mut self) {
        while let Ok(file) = File::open("/dev/null") {
            self.taken.push(file);
        }
    }

    fn leave(&mut self, count: usize) {
        self.taken.truncate(self.taken.len() - count);
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.taken.clear();
        limit(Resource::RLIMIT_NOFILE, self.before);
    }
}

fn adds(rpc: &Rpc<(u64, u64), u64>) {
    let calls: Vec<_> = (0..2000).map(|n| rpc.call((n, 1))).collect();
    assert!(calls.into_iter().zip(1..).all(|(call, sum)| call.wait().unwrap() == sum));
}

/// A program that has no room for one more descriptor: what is there goes on, what is not
/// is an error, nothing leaks, and later all is as it would have been.
fn no_fds() {
    let rpc = process().rpc(add).start().unwrap();
    let timed = process().rpc(wait).timeout(Duration::from_millis(100)).start().unwrap();
    let awaited = process().rpc(add).start().unwrap();
    assert_eq!(rpc.call((1, 2)).wait().unwrap(), 3);
    assert_eq!(threads(), 1, "there is no hub yet");
    let (mut gates, mut passers): (Vec<_>, Vec<_>) = (0..3).map(|_| Gate::new()).unzip();
    let mut full = Full::new();
    full.leave(1);
    let all = open_fds();
    full.fill();

    // So many at a time that memory would be shared, for which there is no descriptor.
    adds(&rpc);
    for room in [0, 1] {
        full.leave(usize::from(room == 1));
        let error = process().rpc(add).start().map(drop).unwrap_err();
        assert!(error.is_resource(), "{room}: {error}");
    }
    full.fill();
    let error = awaited.call((1, 2)).into_receiver().recv().unwrap().unwrap_err();
    assert!(error.is_resource(), "{error}");
    let error = offshoot_tests::block_on::block_on(awaited.call((1, 2))).unwrap_err();
    assert!(error.is_resource(), "{error}");
    awaited.call_then((1, 2), |result| assert!(result.unwrap_err().is_resource()));
    // Nobody could keep the time: it is not called.
    let error = timed.call(passers.pop().unwrap()).wait().unwrap_err();
    assert!(error.is_resource(), "{error}");
    // Sent at once, since nobody could send them a little later.
    let unwatched: Vec<_> = (0..100).map(|n| rpc.call((n, 1))).collect();
    drop(unwatched);
    full.leave(1);
    let now: BTreeSet<_> = open_fds();
    assert!(now.is_subset(&all), "{:?}", now.difference(&all));

    drop(full);
    let received = timed.call(passers.pop().unwrap()).into_receiver().recv_timeout(DEADLINE);
    assert!(received.unwrap().unwrap_err().is_timeout());
    assert_eq!(awaited.call((1, 2)).into_receiver().recv().unwrap().unwrap(), 3);
    // Nobody waits for these: they are sent all the same.
    let (sender, told) = mpsc::channel();
    for n in 0..100 {
        let sender = sender.clone();
        rpc.call_then((n, 1), move |sum| sender.send(sum.unwrap()).unwrap());
    }
    drop(sender);
    assert!(told.iter().eq(1..=100));
    adds(&rpc);
    assert!(rpc.finish().unwrap().success());
    gates.clear();
    println!("all right");
}

fn others(rpc: &Rpc<(Bytes, String), Bytes>, given: u64, wanted: u64) -> Call<Bytes> {
    rpc.call((vec![0; given as usize].into(), wanted.to_string()))
}

/// A program that has no memory for a result, and then has.
fn no_memory() {
    let rpc = process().rpc(exchange).start().unwrap();
    assert_eq!(others(&rpc, 1, 3).wait().unwrap().len(), 3);
    let goes_on = process().rpc(add).start().unwrap();
    let used = offshoot_tests::proc::virtual_memory("self");
    let before = limit(Resource::RLIMIT_AS, used + 200 * MIB);
    let (large, behind) = (others(&rpc, 1, 512 * MIB), others(&rpc, 1, 3));
    let error = large.wait().unwrap_err();
    assert!(error.is_disconnected(), "{error}");
    assert!(error.killed_because().unwrap().contains("no memory"), "{error}");
    let error = behind.wait().unwrap_err();
    assert!(error.is_disconnected(), "{error}");
    adds(&goes_on);
    limit(Resource::RLIMIT_AS, before);
    assert!(goes_on.finish().unwrap().success());
    println!("all right");
}

/// A worker that has no memory for its arguments.
fn no_memory_there() {
    let most = offshoot_tests::proc::virtual_memory("self") + 200 * MIB;
    let process = process().rlimit(offshoot::Resource::AddressSpace, most, most);
    let rpc = process.rpc(exchange).start().unwrap();
    assert_eq!(others(&rpc, 1, 3).wait().unwrap().len(), 3);
    let (large, behind) = (others(&rpc, 512 * MIB, 1), others(&rpc, 1, 1));
    let error = large.wait().unwrap_err();
    assert_eq!(error.exit_status().unwrap().code(), Some(70), "{error}");
    let error = behind.wait().unwrap_err();
    assert_eq!(error.was_started(), Some(false), "{error}");
    println!("all right");
}

/// Workers that have no more descriptors than they need, or fewer.
fn few_fds_there() {
    let with = |most| process().rlimit(offshoot::Resource::OpenFiles, most, most);
    // 0, 1, 2, and the stream, by which it reads and writes; only what is opened from then
    // on is limited.
    let rpc = with(4).rpc(add).start().unwrap();
    adds(&rpc);
    assert!(rpc.finish().unwrap().success());
    let rpc = with(3).rpc(add).start().unwrap();
    let error = rpc.call((1, 2)).wait().unwrap_err();
    assert_eq!(error.exit_status().unwrap().code(), Some(70), "{error}");
    // A runtime wants more.
    let rpc = with(5).rpc(add_later).start().unwrap();
    let error = rpc.call((1, 2)).wait().unwrap_err();
    assert_eq!(error.exit_status().unwrap().code(), Some(70), "{error}");
    println!("all right");
}

#[offshoot::main]
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("no_fds") => no_fds(),
        Some("no_memory") => no_memory(),
        Some("no_memory_there") => no_memory_there(),
        Some("few_fds_there") => few_fds_there(),
        other => panic!("{other:?} is no scene"),
    }
}
