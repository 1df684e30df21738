//! Makes processes in all the ways in which that can end, and says which descriptors
//! it has more, or fewer, than before.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use offshoot::{Args, Process, Start};
use offshoot_tests::proc::target;
use offshoot_tests::{DEADLINE, eventually, open_fds};

const ROUNDS: usize = 30;

#[offshoot::entry]
fn nothing(_: Start) {}

#[offshoot::entry]
fn until_eof(mut start: Start) -> io::Result<()> {
    start.stream.read_to_end(&mut Vec::new()).map(|_| ())
}

#[offshoot::setup]
fn fine(_: Args) {}

#[offshoot::setup]
fn not_fine(_: Args) -> Result<(), String> {
    Err("not today".to_owned())
}

fn process() -> Process {
    Process::new().unwrap()
}

fn with_fds(count: usize) -> Process {
    let zero = File::open("/dev/zero").unwrap();
    (0..count).fold(process(), |p, _| p.send_fd(&zero))
}

fn runs(process: Process) {
    assert!(process.run(nothing).unwrap().wait().unwrap().success());
}

/// Each of them has to leave nothing behind.
const WAYS: [(&str, fn()); 19] = [
    ("run and wait", || runs(process())),
    ("run, not waited for", || drop(process().run(nothing).unwrap())),
    ("five fds", || runs(with_fds(5))),
    ("a parcel of fds", || runs(with_fds(300))),
    ("too many fds", || assert!(with_fds(4097).run(nothing).unwrap_err().is_resource())),
    ("fds, never run", || drop(with_fds(5))),
    ("a big argument", || runs(process().send_arg(vec![0; 100_000]))),
    ("unknown name", || assert!(with_fds(2).run_named("nonsense").unwrap_err().is_unknown_name())),
    ("setup, run", || runs(with_fds(2).setup(fine, ["a"]))),
    ("setup fails", || {
        assert!(with_fds(2).setup(not_fine, ["a"]).run(nothing).unwrap_err().is_setup());
    }),
    ("template", || {
        let template = with_fds(2).setup(fine, ["a"]);
        let fork = template.fork().unwrap().setup(fine, ["b"]);
        runs(fork.fork().unwrap());
        drop(fork.run(until_eof).unwrap());
    }),
    ("template whose setup fails", || {
        let template = with_fds(2).setup(not_fine, ["a"]);
        // Two that wait for the same failure.
        assert!(template.fork().unwrap().run(nothing).unwrap_err().is_setup());
        assert!(template.run(nothing).unwrap_err().is_setup());
    }),
    ("handed over", || {
        runs(Process::from_fd(process().into_fd().unwrap()).unwrap());
    }),
    ("handed over to nobody", || drop(with_fds(2).into_fd().unwrap())),
    ("handed over, no socket", || {
        assert!(Process::from_fd(File::open("/dev/zero").unwrap().into()).is_err());
    }),
    ("no such program", || {
        let child = with_fds(2).exec(["/nonexistent/program"]).unwrap();
        assert!(child.wait().unwrap_err().is_exec());
    }),
    ("no such directory", || {
        let child = with_fds(2).current_dir("/nonexistent").run(nothing).unwrap();
        assert!(child.wait().unwrap_err().is_config());
    }),
    ("killed", || {
        let child = process().run(until_eof).unwrap();
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
    }),
    ("all that a child can be asked", || {
        let child = process().run(until_eof).unwrap();
        let (_, _) = (child.id().unwrap(), child.pidfd().unwrap());
        assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), None);
        assert_eq!(child.try_wait().unwrap(), None);
    }),
];

/// Waits for the end of what lingers: a template that is given up exits by itself.
fn settled(before: &BTreeSet<i32>, what: &str) {
    let start = Instant::now();
    eventually(DEADLINE, what, || {
        // Any new process has the sockets of ended templates put away.
        runs(process());
        let now = open_fds();
        let more: Vec<_> = now.difference(before).map(|fd| target(*fd)).collect();
        let late = start.elapsed() > DEADLINE / 2;
        assert!(!late, "after {what}: {more:?} more, and {before:?} became {now:?}");
        now == *before
    });
}

#[offshoot::main]
fn main() {
    let before = open_fds();
    for (what, way) in WAYS {
        (0..ROUNDS).for_each(|_| way());
        settled(&before, what);
    }
    // The first receiver or future makes the hub, which has a descriptor of its own.
    let child = process().run(nothing).unwrap();
    assert!(child.exited_receiver().recv().unwrap().unwrap().success());
    drop(child);
    let before = open_fds();
    for _ in 0..ROUNDS {
        let (child, other) = (process().run(nothing).unwrap(), process().run(until_eof).unwrap());
        assert!(child.exited_receiver().recv().unwrap().unwrap().success());
        drop((other.exited_receiver(), other.exited()));
        let template = process().setup(fine, ["a"]);
        drop(template.fork().unwrap().run(nothing).unwrap().exited_receiver());
    }
    settled(&before, "receivers");
    println!("no leak");
}
