//! Waiting for processes: blocking, with a deadline, from many threads; signals and
//! process descriptors.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use offshoot::{Args, Child, Process, Start};
use offshoot_tests::entries::{tell, until_told};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::entry]
fn exit_with(start: Start) {
    std::process::exit(i32::from(start.args[0][0]))
}

#[offshoot::setup]
fn nothing(_: Args) {}

fn new() -> Process {
    Process::new().unwrap()
}

#[test]
fn waiting_can_be_repeated() {
    within(DEADLINE, || {
        let child = new().run(until_told).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        tell(&child, 7);
        for _ in 0..3 {
            assert_eq!(child.wait().unwrap().code(), Some(7));
            assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
            let at_once = child.wait_timeout(Duration::ZERO).unwrap();
            assert_eq!(at_once.unwrap().code(), Some(7));
        }
    });
}

#[test]
fn try_wait_alone_learns_of_the_end() {
    within(DEADLINE, || {
        let child = new().run(until_told).unwrap();
        tell(&child, 3);
        let mut status = None;
        offshoot_tests::eventually(DEADLINE, "the end is known", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(3));
    });
}

#[test]
fn a_wait_for_no_time_learns_of_the_end() {
    within(DEADLINE, || {
        let child = new().run(until_told).unwrap();
        assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), None);
        tell(&child, 3);
        let mut status = None;
        offshoot_tests::eventually(DEADLINE / 2, "the end is known", || {
            status = child.wait_timeout(Duration::ZERO).unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(3));
    });
}

#[test]
fn a_wait_that_runs_out_of_time_can_be_followed_by_another() {
    within(DEADLINE, || {
        let child = new().run(until_told).unwrap();
        for patience in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(30)] {
            let start = Instant::now();
            assert_eq!(child.wait_timeout(patience).unwrap(), None);
            assert!(start.elapsed() >= patience);
        }
        tell(&child, 9);
        assert_eq!(child.wait_timeout(DEADLINE).unwrap().unwrap().code(), Some(9));
        let child = new().run(until_told).unwrap();
        tell(&child, 10);
        // So long that it is no point in time.
        assert_eq!(child.wait_timeout(Duration::MAX).unwrap().unwrap().code(), Some(10));
    });
}

/// A thread for each child; the children end in another order than they were made in.
fn many_threads_wait_for_different_children(template: &Process) {
    const COUNT: usize = 40;
    let children: Vec<Child> =
        (0..COUNT).map(|_| template.fork().unwrap().run(until_told).unwrap()).collect();
    let (waiting, ended) = (&Barrier::new(COUNT + 1), std::sync::Mutex::new(Vec::new()));
    thread::scope(|s| {
        for (i, child) in children.iter().enumerate() {
            let ended = &ended;
            s.spawn(move || {
                waiting.wait();
                assert_eq!(child.wait().unwrap().code(), Some(i as i32));
                ended.lock().unwrap().push(i);
            });
        }
        waiting.wait();
        // Each is told only when the one before is known to have ended.
        for i in (0..COUNT).map(|i| i * 7 % COUNT) {
            tell(&children[i], i as u8);
            offshoot_tests::eventually(DEADLINE, "its waiter is told", || {
                ended.lock().unwrap().last() == Some(&i)
            });
        }
    });
}

#[test]
fn threads_wait_for_different_children_of_a_template() {
    within(DEADLINE, || {
        many_threads_wait_for_different_children(&new());
        many_threads_wait_for_different_children(&new().setup(nothing, ["x"]));
    });
}

#[test]
fn threads_wait_for_the_same_child() {
    within(DEADLINE, || {
        for round in 0..20 {
            let child = new().run(until_told).unwrap();
            let waiting = Barrier::new(9);
            thread::scope(|s| {
                for i in 0..8 {
                    let (child, waiting) = (&child, &waiting);
                    s.spawn(move || {
                        waiting.wait();
                        let status = match i % 2 {
                            0 => child.wait().unwrap(),
                            _ => child.wait_timeout(DEADLINE).unwrap().unwrap(),
                        };
                        assert_eq!(status.code(), Some(round));
                    });
                }
                waiting.wait();
                tell(&child, round as u8);
            });
        }
    });
}

#[test]
fn one_who_gives_up_leaves_the_others_waiting() {
    within(DEADLINE, || {
        let (early, late) = (new().run(until_told).unwrap(), new().run(until_told).unwrap());
        thread::scope(|s| {
            let waiter = s.spawn(|| late.wait().unwrap().code());
            for _ in 0..20 {
                assert_eq!(early.wait_timeout(Duration::from_millis(1)).unwrap(), None);
            }
            // Nobody else waits by now who could read for it.
            tell(&late, 1);
            assert_eq!(waiter.join().unwrap(), Some(1));
        });
        tell(&early, 2);
        assert_eq!(early.wait().unwrap().code(), Some(2));
    });
}

#[test]
fn threads_make_and_wait_from_one_template() {
    within(DEADLINE, || {
        let template = new().setup(nothing, ["x"]);
        thread::scope(|s| {
            for thread in 0..8 {
                let template = &template;
                s.spawn(move || {
                    for i in 0..50u8 {
                        let status = i.wrapping_mul(8).wrapping_add(thread);
                        let process = template.fork().unwrap().send_arg([status]);
                        let child = process.run(exit_with).unwrap();
                        assert_eq!(child.wait().unwrap().code(), Some(status.into()));
                    }
                });
            }
        });
    });
}

#[test]
fn a_killed_child_has_died_of_it() {
    within(DEADLINE, || {
        let child = new().run(until_told).unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        // Nothing to do.
        child.kill().unwrap();
        let ended = new().send_arg([4]).run(exit_with).unwrap();
        assert_eq!(ended.wait().unwrap().code(), Some(4));
        ended.kill().unwrap();
        assert_eq!(ended.wait().unwrap().code(), Some(4));
    });
}

#[test]
fn a_child_that_has_ended_cannot_be_signalled() {
    within(DEADLINE, || {
        let child = new().run(until_told).unwrap();
        child.signal(0).unwrap();
        tell(&child, 0);
        child.wait().unwrap();
        for number in [0, libc::SIGTERM, libc::SIGKILL] {
            let error = child.signal(number).unwrap_err();
            assert!(error.is_ended(), "{error}");
        }
        assert!(child.pidfd().unwrap_err().is_ended());
        // Nobody has waited for this one: the template says it.
        let child = new().run(until_told).unwrap();
        let pidfd = child.pidfd().unwrap();
        tell(&child, 0);
        assert!(readable(&pidfd, DEADLINE));
        offshoot_tests::eventually(DEADLINE, "the template has reaped it", || {
            child.signal(0).is_err_and(|e| e.is_ended())
        });
        child.kill().unwrap();
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_number_that_is_no_signal_is_refused() {
    within(DEADLINE, || {
        let child = new().run(until_told).unwrap();
        for number in [-1, 65, 1000, i32::MIN, i32::MAX] {
            let error = child.signal(number).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{number}: {error}");
        }
        tell(&child, 6);
        assert_eq!(child.wait().unwrap().code(), Some(6));
    });
}

fn readable(fd: impl AsFd, patience: Duration) -> bool {
    let timeout = PollTimeout::try_from(patience).unwrap();
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout).unwrap() == 1
}

#[test]
fn a_process_descriptor_is_readable_at_the_end() {
    within(DEADLINE, || {
        let child = new().run(until_told).unwrap();
        let (first, second) = (child.pidfd().unwrap(), child.pidfd().unwrap());
        assert!(!readable(&first, Duration::ZERO) && !readable(&second, Duration::ZERO));
        tell(&child, 5);
        assert!(readable(&first, DEADLINE) && readable(&second, DEADLINE));
        assert_eq!(child.wait().unwrap().code(), Some(5));
        drop(child);
        assert!(readable(&first, Duration::ZERO));
    });
}

#[test]
fn questions_are_answered_while_others_wait() {
    within(DEADLINE, || {
        let children: Vec<Child> = (0..8).map(|_| new().run(until_told).unwrap()).collect();
        thread::scope(|s| {
            for child in &children {
                s.spawn(|| assert_eq!(child.wait().unwrap().code(), Some(1)));
                s.spawn(|| {
                    let id = child.id().unwrap();
                    for _ in 0..20 {
                        child.signal(0).unwrap();
                        assert!(!readable(child.pidfd().unwrap(), Duration::ZERO));
                        assert_eq!(child.id().unwrap(), id);
                    }
                    tell(child, 1);
                });
            }
        });
    });
}
