//! Exact sets of descriptors, before and after, and a parent that has no room.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offshoot_tests::proc::target;
use offshoot_tests::{DEADLINE, eventually, open_fds};

use super::{Do, Done, Played, Worker, new, null, worker};

/// Has the hub, and whatever else is made once.
fn warmed_up() -> Worker {
    let rpc = worker(new());
    rpc.call(Do::Event(vec![null()])).wait().unwrap();
    let call = rpc.call(Do::Nothing).into_receiver();
    call.recv().unwrap().unwrap();
    rpc
}

fn open_in(rpc: &Worker) -> BTreeSet<i32> {
    rpc.call(Do::Open).wait().unwrap().open
}

/// The hub may be closing what it has just sent.
fn same(before: &BTreeSet<i32>, what: &str) {
    let start = Instant::now();
    eventually(DEADLINE, what, || {
        let now = open_fds();
        let more: Vec<_> = now.difference(before).map(|fd| target(*fd)).collect();
        let late = start.elapsed() > DEADLINE / 2;
        assert!(!late, "{what}: {more:?} more, and {before:?} became {now:?}");
        now == *before
    });
}

pub(super) fn exact() -> Played {
    let most = getrlimit(Resource::RLIMIT_NOFILE).unwrap().1;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let rpc = {
        let rpc = worker(new().rlimit(offshoot::Resource::OpenFiles, most, most));
        rpc.call(Do::Event(vec![null()])).wait().unwrap();
        rpc
    };
    let (here, there) = (open_fds(), open_in(&rpc));
    assert_eq!(there.len(), 5, "0, 1, 2, the stream, by which it reads and writes: {there:?}");
    for count in [1, 253, 254, 506, 1000] {
        let make = || (0..count).map(|_| null()).collect::<Vec<_>>();
        let Done { fds, .. } = rpc.call(Do::Echo(make())).wait().unwrap();
        let with: BTreeSet<i32> = fds.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
        assert!(with.is_disjoint(&here) && with.len() == count);
        same(&here.union(&with).copied().collect(), &format!("with {count} of a result"));
        drop(fds);
        rpc.call(Do::Event(make())).wait().unwrap();
        drop(rpc.call(Do::Echo(make())));
        assert_eq!(open_in(&rpc), there, "in the worker, after {count}");
        same(&here, &format!("after {count}"));
    }
    let calls: Vec<_> = (0..300).map(|_| rpc.call(Do::Echo(vec![null(); 3]))).collect();
    for call in calls {
        assert_eq!(call.wait().unwrap().fds.len(), 3);
    }
    assert_eq!(open_in(&rpc), there);
    same(&here, "after many at a time");
    None
}

pub(super) fn no_room() -> Played {
    let rpc = warmed_up();
    let (here, there) = (open_fds(), open_in(&rpc));
    let most = getrlimit(Resource::RLIMIT_NOFILE).unwrap().1;
    let last_free = (0..).filter(|number| !here.contains(number)).nth(39).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, last_free as u64 + 1, most).unwrap();
    // The results of all that are in flight have to have room.
    for count in [30, 41, 100, 1, 253, 2, 300, 600, 10].into_iter().cycle().take(50) {
        let calls = [2, count, 0, 3].map(|count| (count, rpc.call(Do::Give(count))));
        for (count, call) in calls {
            match call.wait() {
                Ok(done) => assert!(done.fds.len() == count && count <= 30, "{count}"),
                Err(error) => assert!(error.is_resource() && count > 30, "{count}: {error}"),
            }
        }
    }
    assert_eq!(open_in(&rpc), there);
    same(&here, "after results without room");
    drop(rpc);

    let (sender, errors) = std::sync::mpsc::channel();
    let rpc = new().rpc(super::gives).on_event(drop).on_error(move |e| sender.send(e).unwrap());
    let rpc = rpc.start().unwrap();
    rpc.call(5).wait().unwrap();
    rpc.call(300).wait().unwrap();
    rpc.call(5).wait().unwrap();
    rpc.finish().unwrap();
    let told: Vec<_> = errors.iter().collect();
    assert!(told.len() == 1 && told[0].is_resource(), "{told:?}");
    eventually(DEADLINE, "the sockets of ended processes are put away", || {
        drop(new().rpc(super::act).start().unwrap().finish());
        open_fds().len() <= here.len()
    });
    None
}

/// The state of the one background thread.
fn hub() -> char {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let hub = stats.into_iter().find(|stat| stat.contains("(offshoot-hub)"));
    let hub = hub.expect("there is a background thread");
    hub.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).expect("it has a state")
}

/// A worker that has ended is left alone, while its handle is there still.
pub(super) fn at_rest() -> Played {
    let rpc = warmed_up();
    let call = rpc.call(Do::Nothing);
    call.wait().unwrap();
    rpc.kill().unwrap();
    assert!(rpc.call(Do::Nothing).wait().unwrap_err().is_disconnected());
    let mut asleep = 0;
    eventually(DEADLINE, "the background thread sleeps", || {
        asleep = if hub() == 'S' { asleep + 1 } else { 0 };
        asleep == 50
    });
    None
}
