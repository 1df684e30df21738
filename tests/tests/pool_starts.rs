//! Workers that do not come to be: the pool gives up with the reason, can be repaired, and
//! makes no storm of forks meanwhile.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use offshoot::pool::PoolBuilder;
use offshoot::testing::{Chaos, kill_worker};
use offshoot::{Error, Pool, Process, Resource, RunArgs};
use offshoot_tests::probe::{Clean, children_of, settled};
use offshoot_tests::{DEADLINE, eventually, parent_of, within};

offshoot::early!();

/// Notes that a worker has begun in the file that came, and does as it is told.
fn begin(queued: RunArgs, how: String) -> Result<Option<OwnedFd>, String> {
    let mut fds = queued.fds.into_iter();
    if let Some(log) = fds.next() {
        File::from(log).write_all(b"x").unwrap();
    }
    match how.as_str() {
        "err" => Err("no table called `users`".to_owned()),
        "panic" => panic!("index 7 of 3"),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        "leave" => {
            // Once it is ready, most often.
            std::thread::spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                std::process::exit(5);
            });
            Ok(None)
        }
        "retire" => {
            offshoot::pool::retire();
            Ok(None)
        }
        _ => Ok(fds.next()),
    }
}

#[offshoot::worker(init = begin)]
fn pid(_: &mut Option<OwnedFd>, _n: u32) -> u32 {
    std::process::id()
}

#[offshoot::worker(init = begin)]
fn parent(_: &mut Option<OwnedFd>, _n: u32) -> u32 {
    parent_of(std::process::id()).unwrap()
}

fn builder(template: Process, how: &str) -> PoolBuilder<u32, u32> {
    Pool::builder(pid).template(template).init(how.to_owned())
}

/// How many workers have begun.
fn begun(log: &File) -> usize {
    // Its place is the workers' too, and is not to be moved.
    log.metadata().unwrap().len() as usize
}

fn with_log(log: &File) -> Process {
    Process::new().unwrap().send_fd(log)
}

#[test]
fn each_call_and_on_error_are_told_why_and_a_reload_repairs() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let ways = [
            ("err", "no table called `users`"),
            ("panic", "index 7 of 3"),
            ("exit", "exit status: 3"),
            ("abort", "signal: 6"),
        ];
        for (how, why) in ways {
            let log = tempfile::tempfile().unwrap();
            let (sender, complaints) = channel();
            let backoff = Duration::from_millis(1);
            let pool = builder(with_log(&log), how)
                .max(1)
                .restart(3, Duration::from_secs(60))
                .backoff(backoff, backoff)
                .on_error(move |error| sender.send(error).unwrap())
                .build()
                .unwrap();
            let calls = [1, 2, 3].map(|n| pool.call(n));
            let mapped: Vec<_> = pool.map_unordered(0..3).collect();
            for told in calls.map(|call| call.wait()).into_iter().chain(mapped) {
                let error = told.unwrap_err();
                assert!(error.is_pool_broken(), "{error}");
                assert_eq!(error.is_init(), matches!(how, "err" | "panic"), "{error}");
                assert!(error.to_string().contains(why), "{error}");
                assert!(error.to_string().contains("3 in a row"), "{error}");
            }
            assert_eq!(begun(&log), 3, "{how}");
            for _ in 0..3 {
                let complaint: Error = complaints.recv_timeout(DEADLINE).unwrap();
                assert!(complaint.to_string().contains(why), "{complaint}");
            }
            // Broken, it does not even try.
            assert!(pool.call(1).wait().unwrap_err().is_pool_broken());
            assert!(pool.try_call(1).unwrap_err().error.is_pool_broken());
            assert_eq!((begun(&log), pool.stats().failed_starts), (3, 3));

            let stats = pool.finish().unwrap();
            assert_eq!((stats.done, stats.failed.refused), (0, stats.failed.total()));
        }
        clean.after();
    });
}

/// Fails while the descriptor that came first is the end of a pipe without another end.
fn check_pipe(queued: RunArgs) -> Result<(), String> {
    let mut pipe = File::from(queued.fds.into_iter().next().unwrap());
    pipe.write_all(b"!").map_err(|error| error.to_string())
}

#[offshoot::worker(init = check_pipe)]
fn plus_one(_: &mut (), n: u32) -> u32 {
    n + 1
}

#[test]
fn a_reload_repairs_a_broken_pool_with_all_its_idle_workers() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let template = Process::new().unwrap().send_fd(&writer);
        let pool = Pool::builder(plus_one).template(template).idle(2).restart(2, DEADLINE);
        let pool = pool.build().unwrap();
        // Nobody has called yet.
        eventually(DEADLINE, "it is broken", || pool.stats().failed_starts >= 2);
        assert!(pool.call(1).wait().unwrap_err().is_init());
        drop(writer);
        let (reader, writer) = std::io::pipe().unwrap();
        pool.reload(Process::new().unwrap().send_fd(&writer)).unwrap();
        eventually(DEADLINE, "idle workers", || pool.stats().idle == 2);
        assert_eq!(pool.call(1).wait().unwrap(), 2);
        pool.finish().unwrap();
        drop((pool, reader, writer));
        clean.after();
    });
}

/// Once there have been `least`, for four hundred milliseconds more: a pool that forks without a
/// pause would make a hundred workers in the first of them.
fn workers_begun(least: usize, how: &str, restart: u32) -> (usize, Duration) {
    let log = tempfile::tempfile().unwrap();
    let start = Instant::now();
    let pool = builder(with_log(&log), how)
        .idle(1)
        .restart(restart, Duration::from_secs(60))
        .backoff(Duration::from_millis(20), Duration::from_millis(80))
        .build()
        .unwrap();
    eventually(DEADLINE, "it goes on", || begun(&log) >= least);
    std::thread::sleep(Duration::from_millis(400));
    pool.kill().unwrap();
    drop(pool);
    (begun(&log), start.elapsed())
}

#[test]
fn a_crash_loop_is_as_slow_as_its_pauses() {
    within(DEADLINE, || {
        let clean = Clean::before();
        for how in ["exit", "leave", "retire"] {
            let (begun, time) = workers_begun(3, how, u32::MAX);
            // The first pauses are 20 and 40 ms, all others 80; the first that leaves is
            // replaced at once.
            let most = 4 + time.as_millis() as usize / 80;
            assert!(begun <= most, "{how}: {begun} in {time:?}");
        }
        // One that gives up is at rest.
        let (begun, _) = workers_begun(3, "exit", 3);
        assert_eq!(begun, 3);
        clean.after();
    });
}

#[offshoot::worker]
fn open_one() -> Result<(), String> {
    File::open("/dev/null").map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_worker_without_room_for_descriptors_says_so() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let with_room_for = |fds| {
            let pool = Pool::builder(open_one).rlimit(Resource::OpenFiles, fds, fds);
            pool.capture_stderr(true).restart(2, DEADLINE).build().unwrap()
        };
        // Not even for its own.
        let pool = with_room_for(3);
        let error = pool.call(()).wait().unwrap_err();
        assert!(error.is_pool_broken(), "{error}");
        assert!(
            error.to_string().contains("exit status: 70; it said last: offshoot: a worker ends")
        );
        drop(pool);
        // For none of its function.
        let pool = with_room_for(4);
        let told = pool.call(()).wait().unwrap().unwrap_err();
        assert!(told.contains("Too many open files"), "{told}");
        assert_eq!(pool.finish().unwrap().died, 0);
        drop(pool);
        clean.after();
    });
}

#[test]
fn spares_are_there_whatever_becomes_of_them() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let template = || settled(Process::new().unwrap());
        let pool = Pool::builder(parent)
            .template(template())
            .init("run".to_owned())
            .spares(2)
            .stop(Duration::ZERO)
            .backoff(Duration::ZERO, Duration::ZERO)
            .build()
            .unwrap();
        // They are used and replaced, and out of date, and die, all at the same time.
        std::thread::scope(|s| {
            let callers = [0, 1].map(|_| {
                s.spawn(|| {
                    for n in 0..150 {
                        pool.request(n).idempotent().call().wait().unwrap();
                    }
                })
            });
            for _ in 0..30 {
                pool.reload(template()).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
            callers.into_iter().for_each(|caller| caller.join().unwrap());
        });
        eventually(DEADLINE, "two spares and nothing else", || {
            let stats = pool.stats();
            (stats.spares, stats.idle + stats.busy + stats.starting + stats.retiring) == (2, 0)
        });
        // They are really there: the next worker is one of them, forked before.
        let template = pool.call(1).wait().unwrap();
        eventually(DEADLINE, "two processes and no more", || {
            pool.stats().spares == 2 && children_of(template).len() == 2
        });
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn workers_that_are_killed_before_they_are_ready_lose_no_call() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = Pool::builder(pid)
            .init("run".to_owned())
            .max(4)
            .start(Duration::ZERO)
            .stop(Duration::ZERO)
            .restart(u32::MAX, Duration::from_secs(60))
            .backoff(Duration::ZERO, Duration::ZERO)
            .retry(u32::MAX)
            .build()
            .unwrap();
        let chaos = Chaos::new(&pool).every(Duration::from_micros(300)).start().unwrap();
        for n in 0..100 {
            let calls = [0, 1, 2, 3].map(|_| pool.request(n).idempotent().call());
            assert!(calls.into_iter().all(|call| call.wait().is_ok()));
        }
        chaos.stop();
        assert!(kill_worker(&pool, std::process::id()).unwrap_err().is_ended());
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.total(), stats.running), (400, 0, 0));
        drop(pool);
        clean.after();
    });
}
