//! Wakers that panic: it ends there. Whoever reads what is for them is a thread that has
//! nothing to do with them, and there are others to be told.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot::{Done, Fd, Pool, Process};
use offshoot_tests::block_on::Bell;
use offshoot_tests::entries::{tell, until_told};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::probe::{settled, template_of};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

struct Bad;

impl Wake for Bad {
    fn wake(self: Arc<Self>) {
        panic!("not a good waker");
    }
}

fn is_pending<F: Future>(future: std::pin::Pin<&mut F>, waker: &Waker) -> bool {
    matches!(future.poll(&mut Context::from_waker(waker)), Poll::Pending)
}

/// Both wait, the bad one first; then something is done that ends the wait of both, by a
/// thread that must not be harmed. The good one is told.
fn good_behind_bad<F: Future, T: Send>(bad: F, good: F, done: impl FnOnce() -> T + Send) -> T {
    let (mut bad, mut good) = (pin!(bad), pin!(good));
    assert!(is_pending(bad.as_mut(), &Arc::new(Bad).into()));
    let bell = Bell::new();
    assert!(is_pending(good.as_mut(), &Arc::clone(&bell).into()));
    let done = thread::scope(|scope| scope.spawn(done).join());
    let done = done.expect("a waker of others is nothing to this thread");
    while bell.rings() == 0 {
        thread::park();
    }
    done
}

#[test]
fn of_the_end_of_a_process() {
    within(DEADLINE, || {
        let [a, b] = [(); 2].map(|()| Process::new().unwrap().run(until_told).unwrap());
        let status = good_behind_bad(a.exited(), a.exited(), || {
            tell(&a, 1);
            // So that this thread reads of both.
            a.wait().unwrap();
            tell(&b, 2);
            b.wait()
        });
        assert_eq!(status.unwrap().code(), Some(2));
    });
}

#[test]
fn of_processes_whose_template_dies() {
    within(DEADLINE, || {
        let template = settled(Process::new().unwrap());
        let [a, b, c] = [(); 3].map(|()| template.fork().unwrap().run(until_told).unwrap());
        let status = good_behind_bad(a.exited(), b.exited(), || {
            kill(Pid::from_raw(template_of(&a) as i32), Signal::SIGKILL).unwrap();
            c.wait()
        });
        assert!(status.unwrap_err().is_disconnected());
    });
}

#[offshoot::worker]
fn held(done: Done<()>, gate: Fd) {
    thread::spawn(move || {
        pass(&gate);
        done.complete(());
    });
}

#[test]
fn of_room_in_a_pool() {
    within(DEADLINE, || {
        let (gate, shut) = Gate::new();
        let pool = Pool::builder(held).max(1).load(1).queue_limit(0).build().unwrap();
        let call = pool.call(shut.clone());
        let (bad, good) = (pool.call_async(shut.clone()), pool.call_async(shut.clone()));
        drop(shut);
        good_behind_bad(bad, good, || pool.kill()).unwrap();
        assert!(call.wait().is_err());
        drop(gate);
    });
}

#[test]
fn of_the_end_of_a_pool() {
    within(DEADLINE, || {
        let (gate, shut) = Gate::new();
        let pool = Pool::builder(held).max(1).build().unwrap();
        let call = pool.call(shut);
        let stats = good_behind_bad(pool.finish_async(), pool.finish_async(), || {
            drop(gate);
            pool.finish()
        });
        assert_eq!(stats.unwrap().done, 1);
        call.wait().unwrap();
    });
}
