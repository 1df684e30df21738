//! Sends that fail: for want of memory, which passes, or for good.

use std::sync::atomic::Ordering;

use offshoot::{Context, Done, Error, Process, Rpc};
use offshoot_tests::shortage::sends_fail;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Whether the worker's sends fail from now on, with what and how often; or why they cannot.
fn prepare(fails: Option<(i32, usize)>) -> Result<(), String> {
    let Some((errno, times)) = fails else { return Ok(()) };
    sends_fail(errno, times).map(drop).map_err(|e| e.to_string())
}

type Told = Result<(), String>;
type Fails = Option<(i32, usize)>;

#[offshoot::worker]
fn later(done: Done<Told>, fails: Fails) {
    done.complete(prepare(fails));
}

#[offshoot::worker]
async fn task(_cx: Context<()>, fails: Fails) -> Told {
    prepare(fails)
}

#[offshoot::worker]
fn plain(fails: Fails) -> Told {
    prepare(fails)
}

/// A way to call each kind of worker.
fn workers(each: impl Fn(&str, &(dyn Fn(Fails) -> Result<Told, Error> + Sync))) {
    fn call<E>(rpc: &Rpc<Fails, Told, E>) -> impl Fn(Fails) -> Result<Told, Error> + Sync {
        move |fails| rpc.call(fails).wait()
    }
    let new = || Process::new().unwrap();
    each("Done", &call(&new().rpc(later).start().unwrap()));
    each("async fn", &call(&new().rpc(task).start().unwrap()));
    each("fn", &call(&new().rpc(plain).start().unwrap()));
}

/// The listener of seccomp may be taken, by valgrind or a container, or not be there.
fn skipped(told: &Result<Told, Error>) -> bool {
    let why = match told {
        Ok(Err(why)) => why,
        _ => return false,
    };
    eprintln!("skipped: sends cannot be made to fail here: {why}");
    true
}

#[test]
fn a_worker_whose_sends_fail_for_good_is_gone() {
    within(DEADLINE, || {
        workers(|which, call| {
            assert_eq!(call(None).unwrap(), Ok(()), "{which}");
            let first = call(Some((libc::EIO, usize::MAX)));
            if skipped(&first) {
                return;
            }
            for told in [first, call(None)] {
                let error = told.expect_err(which);
                assert!(error.is_disconnected(), "{which}: {error}");
            }
        })
    });
}

#[test]
fn a_worker_waits_while_there_is_no_memory_to_send_with() {
    within(DEADLINE, || {
        for errno in [libc::ENOBUFS, libc::ENOMEM] {
            workers(|which, call| {
                let told = call(Some((errno, 5)));
                if skipped(&told) {
                    return;
                }
                assert_eq!(told.unwrap(), Ok(()), "{which}");
                assert_eq!(call(None).unwrap(), Ok(()), "{which}");
            })
        }
    });
}

#[test]
fn a_parent_waits_while_there_is_no_memory_to_send_with() {
    within(DEADLINE, || {
        workers(|which, call| {
            // Of this thread, and so of no other.
            let waits = || {
                let left = match sends_fail(libc::ENOBUFS, 5) {
                    Ok(left) => left,
                    Err(why) => return eprintln!("skipped: sends cannot be made to fail: {why}"),
                };
                assert_eq!(call(None).unwrap(), Ok(()), "{which}");
                // The hub may not be of this thread.
                assert!(left.load(Ordering::Relaxed) < 5, "{which}: none has failed");
                assert_eq!(call(None).unwrap(), Ok(()), "{which}");
            };
            std::thread::scope(|scope| scope.spawn(waits).join().unwrap());
        })
    });
}
