//! Programs in which something runs out.

use std::fs::File;
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offshoot::{Args, Error, Pool, Process, pool::PoolBuilder};

use super::{Before, Scene, nap};

pub(super) const SCENES: &[Scene] = &[
    ("no descriptors", no_descriptors),
    ("no descriptors and no pauses", no_descriptors_and_no_pauses),
    ("no descriptors for more", no_descriptors_for_more),
    ("no processes", no_processes),
];

fn builder() -> PoolBuilder<u64, u32> {
    let restart = (3, Duration::from_secs(60));
    let backoff = Duration::from_millis(1);
    Pool::builder(nap).max(3).load(1).restart(restart.0, restart.1).backoff(backoff, backoff)
}

/// Takes all descriptors that there are under a limit not far from what is in use.
fn use_up() -> Vec<File> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let next = File::open("/dev/null").unwrap();
    let limit = std::os::fd::AsRawFd::as_raw_fd(&next) as u64 + 40;
    setrlimit(Resource::RLIMIT_NOFILE, limit, most).unwrap();
    std::iter::once(next).chain(std::iter::from_fn(|| File::open("/dev/null").ok())).collect()
}

fn is_shortage(error: &Error, errno: i32) -> bool {
    error.is_resource() && error.raw_os_error() == Some(errno) && !error.is_pool_broken()
}

/// Without a worker no call can be made, and each is told why; with room, all goes on.
fn no_descriptors() {
    let before = Before::now();
    let (sender, complaints) = channel();
    let pool = builder().spares(1).capture_stderr(true);
    let pool = pool.on_error(move |error| sender.send(error).unwrap()).build().unwrap();
    // The spare that there is.
    pool.call(0).wait().unwrap();
    pool.broadcast(0).unwrap();
    drop(pool);
    before.is_again();

    let (sender, complaints_of_second) = channel();
    let pool = builder().capture_stderr(true);
    let pool = pool.on_error(move |error| sender.send(error).unwrap()).build().unwrap();
    for _ in 0..3 {
        let all = use_up();
        let calls = [0, 0, 0, 0].map(|millis| pool.call(millis));
        for call in calls {
            let error = call.wait().unwrap_err();
            assert!(is_shortage(&error, libc::EMFILE), "{error}");
        }
        assert!(complaints_of_second.try_iter().all(|error| is_shortage(&error, libc::EMFILE)));
        drop(all);
        let told = pool.map(vec![0; 10]).filter(Result::is_ok).count();
        assert_eq!(told, 10);
        // All of them end, and the next calls need new ones.
        for pid in pool.pids() {
            offshoot::testing::kill_worker(&pool, pid).unwrap();
            // One is told for each that has ended.
            while complaints_of_second.recv().unwrap().exit_status().is_none() {}
        }
    }
    assert!(complaints.try_iter().next().is_none());
    pool.finish().unwrap();
    drop(pool);
    before.is_again();
    println!("told");
}

/// Where it is to be tried again without a pause, calls are told too.
fn no_descriptors_and_no_pauses() {
    for idle in [0, 1] {
        let before = Before::now();
        let pool = builder().idle(idle).backoff(Duration::ZERO, Duration::ZERO);
        let pool = pool.on_error(|_| ()).build().unwrap();
        let pid = pool.call(0).wait().unwrap();
        let all = use_up();
        offshoot::testing::kill_worker(&pool, pid).unwrap();
        offshoot_tests::eventually(offshoot_tests::DEADLINE, "it is gone", || {
            pool.pids().is_empty()
        });
        for _ in 0..3 {
            let error = pool.call(0).wait().unwrap_err();
            assert!(is_shortage(&error, libc::EMFILE), "{error}");
        }
        drop(all);
        // Those before may have been told of one more try.
        std::iter::repeat_with(|| pool.call(0).wait()).find(Result::is_ok);
        pool.finish().unwrap();
        drop(pool);
        before.is_again();
    }
    println!("told");
}

/// With a worker, calls wait for that.
fn no_descriptors_for_more() {
    let before = Before::now();
    let pool = builder().start(Duration::ZERO).stop(Duration::MAX).build().unwrap();
    let pid = pool.call(0).wait().unwrap();
    let all = use_up();
    let calls = vec![1; 50];
    assert!(pool.map(calls).all(|told| told.unwrap() == pid));
    assert!(pool.stats().failed_starts > 0);
    drop(all);
    let calls = vec![5; 60];
    let others = pool.map(calls).filter(|told| *told.as_ref().unwrap() != pid).count();
    assert!(others > 0);
    assert_eq!(pool.finish().unwrap().failed.total(), 0);
    drop(pool);
    before.is_again();
    println!("goes on");
}

#[offshoot::setup]
fn nothing(_: Args) {}

/// The user may have no more of them: the template says so.
fn no_processes() {
    let before = Before::now();
    // This thread and the background thread, the program's template, and this one.
    let limit = |most| {
        let template = Process::new().unwrap();
        template.rlimit(offshoot::Resource::Processes, most, most).setup(nothing, [""; 0])
    };
    let pool = builder().template(limit(4)).build().unwrap();
    for _ in 0..2 {
        let error = pool.call(0).wait().unwrap_err();
        assert!(is_shortage(&error, libc::EAGAIN), "{error}");
    }
    pool.reload(limit(5)).unwrap();
    // The first one takes its time to end.
    let told = std::iter::repeat_with(|| pool.call(0).wait()).find(Result::is_ok);
    assert!(told.is_some());
    pool.finish().unwrap();
    drop(pool);
    before.is_again();
    println!("told");
}
