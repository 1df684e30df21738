//! Programs that fork by themselves, and have a pool.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use futures_core::Stream;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};
use offshoot::testing::kill_template;
use offshoot::{Args, Error, Pool, Process};
use offshoot_tests::block_on::block_on;
use offshoot_tests::entries::linger;
use offshoot_tests::probe::{children_of, template_of};
use offshoot_tests::program::Watched;
use offshoot_tests::turnstile::{self, Turnstile};
use offshoot_tests::{DEADLINE, eventually};

use super::{Scene, nap};

pub(super) const SCENES: &[Scene] = &[
    ("both", both),
    ("daemon", daemon),
    ("daemon of a thread at work", daemon_of_a_thread_at_work),
    ("daemon of a thread that hangs", daemon_of_a_thread_that_hangs),
    ("daemon of a template that is made", daemon_of_a_template_that_is_made),
    ("daemon of a callback", daemon_of_a_callback),
    ("maps", maps),
];

/// Runs `here` in a fork of this process.
#[allow(unsafe_code)]
fn in_fork(here: impl FnOnce()) -> Pid {
    // SAFETY: what the fork does is to ask a pool, which has to answer whatever the other
    // threads hold; the allocator is the C library's, which looks after itself in a fork.
    match unsafe { fork() }.expect("it can be forked") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // One that hangs is ended.
            // SAFETY: no memory is named.
            unsafe { libc::alarm(DEADLINE.as_secs() as u32 / 2) };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(here));
            // SAFETY: no memory is named.
            unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) }
        }
    }
}

fn theirs<T>(told: Result<T, Error>) {
    assert!(told.is_err_and(|error| error.is_not_owner()));
}

/// The program lives on, and has threads that use the pool while it is forked: whatever is
/// asked in the fork is answered.
fn both() {
    let pool = Pool::builder(nap).max(2).idle(1).build().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    pool.call(0).wait().unwrap();
                    pool.stats();
                }
            });
        }
        let forks: Vec<Pid> = (0..20)
            .map(|_| {
                in_fork(|| {
                    theirs(pool.call(0).wait());
                    assert_eq!(pool.stats().started, 0);
                    assert!(pool.pids().is_empty());
                    pool.resize(7);
                    theirs(pool.map([0]).next().unwrap());
                    theirs(pool.try_call(0).map_err(|refused| refused.error));
                    theirs(pool.broadcast(0));
                    theirs(pool.kill());
                    theirs(pool.finish());
                    assert_eq!(format!("{pool:?}"), "Pool { .. }");
                })
            })
            .collect();
        for child in forks {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let stats = pool.finish().unwrap();
    assert_eq!((stats.failed.total(), stats.died), (0, 0));
    println!("both");
}

/// Goes on in a fork, once this process has ended.
fn become_daemon(here: impl FnOnce()) -> ! {
    let before = Watched::new(std::process::id());
    in_fork(|| {
        setsid().expect("we lead no group");
        assert!(before.gone_within(DEADLINE));
        here();
        println!("the daemon is done");
    });
    // As daemon(3) does: without a look at what this process thinks it owns.
    // SAFETY: no memory is named.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(0)
    }
}

/// The daemon goes on with the pool, and what was called before.
fn daemon() {
    let pool = Pool::builder(nap).max(2).load(1).idle(1).spares(1).build().unwrap();
    let first = pool.call(0).wait().unwrap();
    // These run, and wait, while the program that was started ends.
    let calls = [50, 50, 50].map(|millis| pool.call(millis));
    become_daemon(|| {
        let own = [1, 1].map(|millis| pool.call(millis));
        for call in calls.into_iter().chain(own) {
            call.wait().unwrap();
        }
        assert!(pool.pids().contains(&first));
        let mapped: Result<Vec<u32>, Error> = pool.map(vec![1; 20]).collect();
        assert_eq!(mapped.unwrap().len(), 20);
        assert_eq!(pool.finish().unwrap().failed.total(), 0);
    })
}

/// A pool, one callback of which the background thread is in.
fn with_callback(callback: impl FnOnce() + Send + 'static) -> Pool<u64, u32> {
    let pool = Pool::builder(nap).max(1).idle(1).build().unwrap();
    let (inside, is_inside) = channel();
    pool.call_then(0, move |told| {
        told.unwrap();
        inside.send(()).unwrap();
        callback();
    });
    is_inside.recv().unwrap();
    pool
}

fn a_new_one_works() {
    let pool = Pool::builder(nap).max(1).build().unwrap();
    pool.call(0).wait().unwrap();
    assert_eq!(pool.finish().unwrap().done, 1);
}

/// The background thread is in the midst of something when the program forks: that waits for
/// it, and the daemon has the pool.
fn daemon_of_a_thread_at_work() {
    static FORKS: AtomicBool = AtomicBool::new(false);
    unsafe extern "C" fn notes() {
        FORKS.store(true, Ordering::Release);
    }
    let pool = with_callback(|| {
        while !FORKS.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        // Work, which takes longer than a fork.
        std::thread::sleep(Duration::from_millis(20));
    });
    // Those that were registered last run first.
    // SAFETY: it stores a number.
    #[allow(unsafe_code)]
    let registered = unsafe { libc::pthread_atfork(Some(notes), None, None) };
    assert_eq!(registered, 0);
    become_daemon(|| {
        pool.call(1).wait().unwrap();
        assert_eq!(pool.finish().unwrap().died, 0);
    })
}

/// The same, but it is not done in time: nobody can have that pool any more, and nobody hangs.
fn daemon_of_a_thread_that_hangs() {
    let pool = with_callback(|| {
        loop {
            std::thread::park();
        }
    });
    become_daemon(|| {
        theirs(pool.call(1).wait());
        theirs(pool.map([0]).next().unwrap());
        assert!(pool.pids().is_empty());
        theirs(pool.finish());
        theirs(pool.kill());
        drop(pool);
        a_new_one_works();
    })
}

#[offshoot::setup]
fn held_up(_: Args) {
    turnstile::enter(offshoot::run_args()).pass(0);
}

/// A template has died, and a thread that is not in the daemon makes another one.
fn daemon_of_a_template_that_is_made() {
    let turnstile = Turnstile::new();
    turnstile.let_through(1);
    let template = turnstile.template().setup(held_up, [""; 0]);
    let pool = Pool::builder(nap).template(template).max(1).build().unwrap();
    turnstile.next();
    kill_template(&pool).unwrap();
    let call = pool.call(0);
    turnstile.next();
    become_daemon(|| {
        let own = pool.call(0);
        turnstile.next();
        turnstile.open();
        assert_eq!(call.wait().unwrap(), own.wait().unwrap());
        let stats = pool.finish().unwrap();
        assert_eq!((stats.templates, stats.failed.total()), (1, 0));
        drop(pool);
        let child = Process::new().and_then(|p| p.run(linger)).unwrap();
        let default = template_of(&child);
        child.kill().unwrap();
        child.wait().unwrap();
        // Not the one either that was half made.
        eventually(DEADLINE, "it has no other template", || children_of(default).is_empty());
    })
}

/// A callback makes a daemon, and goes on there.
fn daemon_of_a_callback() {
    let pool = Arc::new(Pool::builder(nap).max(1).build().unwrap());
    let same = Arc::clone(&pool);
    pool.call_then(0, move |told| {
        told.unwrap();
        become_daemon(|| {
            let worker = same.pids();
            assert_eq!(worker.len(), 1);
            drop(same.try_call(0).unwrap());
        });
    });
    loop {
        std::thread::park();
    }
}

fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    block_on(poll_fn(|context| Pin::new(&mut *stream).poll_next(context)))
}

/// Maps of which one result has been taken when the program forks: in the fork, each of the
/// other items has an error.
fn maps() {
    const LONG: u64 = 3_600_000;
    let items = [0, LONG, LONG, LONG, LONG];
    // A queue that is full, so that an item is kept for which there was no room.
    let pools = [(); 5].map(|()| Pool::builder(nap).max(1).load(1).queue_limit(1).build().unwrap());
    let mut map = pools[0].map(items);
    let mut unordered = pools[1].map_unordered(items);
    let mut indexed = pools[2].map_unordered(items).indexed();
    let mut stream = pools[3].map(items).into_stream();
    let mut indexed_stream = pools[4].map_unordered(items).indexed().into_stream();
    map.next().unwrap().unwrap();
    unordered.next().unwrap().unwrap();
    assert!(matches!(indexed.next(), Some((0, Ok(_)))));
    next(&mut stream).unwrap().unwrap();
    assert!(matches!(next(&mut indexed_stream), Some((0, Ok(_)))));
    let child = in_fork(|| {
        for n in 1..items.len() {
            theirs(map.next().unwrap());
            theirs(unordered.next().unwrap());
            theirs(next(&mut stream).unwrap());
            for (index, told) in [indexed.next().unwrap(), next(&mut indexed_stream).unwrap()] {
                assert_eq!(index, n);
                theirs(told);
            }
        }
        assert!(map.next().is_none() && unordered.next().is_none() && indexed.next().is_none());
        assert!(next(&mut stream).is_none() && next(&mut indexed_stream).is_none());
    });
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    for pool in pools {
        pool.kill().unwrap();
    }
    // The parent's are what they were.
    let told: Vec<_> = map.collect();
    assert!(told.len() == 4 && told.iter().all(|t| t.as_ref().is_err_and(|e| !e.is_not_owner())));
    println!("each has an error");
}
