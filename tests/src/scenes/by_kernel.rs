//! Processes whose template was killed before it could tell how they ended: the kernel tells it,
//! to whoever asks in whatever way, once they have been reaped.

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::os::unix::thread::JoinHandleExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use offshoot::{Child, Error, Process, Start};
use offshoot_tests::block_on::block_on;
use offshoot_tests::program::{Watched, at_once};
use offshoot_tests::{DEADLINE, eventually, state};

use super::kills::assert_disconnected;
use super::{Scene, staying, template_of};

pub(super) const SCENES: &[Scene] = &[
    ("late_init", late_init),
    ("status_by_kernel", status_by_kernel),
    ("never_reaped", never_reaped),
];

/// As `init`, but orphans are reaped only when the program says so, in a line of its output.
fn late_init(command: &[String]) {
    nix::sys::prctl::set_child_subreaper(true).expect("it is allowed");
    let mut main = std::process::Command::new(&command[0]);
    let mut main = main.args(&command[1..]).stdout(Stdio::piped()).spawn().expect("it starts");
    let pid = nix::unistd::Pid::from_raw(main.id() as i32);
    let mut failed = false;
    let mut reap = |flags| {
        while let Ok(ended) = waitpid(None, flags) {
            if ended == WaitStatus::StillAlive {
                break;
            }
            failed |= ended.pid() == Some(pid) && !matches!(ended, WaitStatus::Exited(_, 0));
        }
    };
    for line in BufReader::new(main.stdout.take().expect("it is piped")).lines() {
        match line.expect("it is text").as_str() {
            "reap" => reap(Some(WaitPidFlag::WNOHANG)),
            other => println!("{other}"),
        }
    }
    reap(None);
    std::process::exit(i32::from(failed));
}

/// Says that it is here, and stays as long as the program has the stream.
#[offshoot::entry]
fn stays(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(b"!")?;
    start.stream.read_to_end(&mut Vec::new()).map(|_| ())
}

fn with_pidfd(process: Process) -> Child {
    let child = process.run(stays).expect("it runs");
    // Then it is detached, if it is to be.
    child.stream().read_exact(&mut [0]).expect("it speaks");
    drop(child.pidfd().expect("it runs"));
    child
}

/// The processes of a template, and who is to reap them.
struct Scenery {
    template: Watched,
    children: Vec<Watched>,
    /// Asked last, without a descriptor: its end is known when the loss of the template is
    /// known for all of them.
    not_asked: Child,
}

/// These many, with descriptors.
fn children<const N: usize>() -> (Scenery, [Child; N]) {
    let new = || Process::new().expect("processes can be made");
    let children = std::array::from_fn(|_| with_pidfd(new()));
    let watched = children.iter().map(|child| Watched::new(child.id().expect("it runs")));
    let (watched, not_asked) = (watched.collect(), staying(new()));
    let template = template_of(&not_asked);
    (Scenery { template, children: watched, not_asked }, children)
}

impl Scenery {
    /// Stops the template, which tells nothing from then on.
    fn stop(&self) {
        self.template.signal(Signal::SIGSTOP);
        eventually(DEADLINE, "it has stopped", || state(self.template.pid()) == Some('T'));
    }

    /// Kills the template, and so all of its children, and sees to it that this is known here.
    fn kill(&self) {
        self.template.signal(Signal::SIGKILL);
        assert!(self.template.gone_within(at_once()));
        assert!(self.children.iter().all(|child| child.gone_within(at_once())));
        assert_disconnected(self.not_asked.wait());
    }
}

fn is_killed(status: Result<ExitStatus, Error>) {
    assert_eq!(status.expect("the kernel tells it").signal(), Some(libc::SIGKILL));
}

/// Nothing is known, and that is what is said.
fn is_open(child: &Child) {
    assert_eq!(child.try_wait().expect("it is not known yet"), None);
    assert_eq!(child.wait_timeout(Duration::from_millis(10)).expect("nor now"), None);
    let future = pin!(child.exited());
    assert!(matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
}

/// Whatever is asked, the answer is the same.
fn all_say(child: &Child, expected: fn(Result<ExitStatus, Error>)) {
    expected(child.wait());
    expected(child.try_wait().map(|status| status.expect("it is known")));
    expected(child.wait_timeout(Duration::ZERO).map(|status| status.expect("it is known")));
    expected(block_on(child.exited()));
    expected(child.exited_receiver().recv().expect("one message comes"));
    // This the kernel does not know.
    assert_disconnected(child.usage());
}

type Told = JoinHandle<Result<ExitStatus, Error>>;

fn by_wait(child: Child) -> JoinHandle<(Result<ExitStatus, Error>, Child)> {
    thread::spawn(move || (child.wait(), child))
}

/// Awaits the end on a thread, and is known to have begun.
fn by_future(child: &Child) -> Told {
    let future = child.exited();
    let (begun, begins) = mpsc::channel();
    let told = thread::spawn(move || {
        let mut future = pin!(future);
        let first = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(first, Poll::Pending));
        begun.send(()).expect("it is waited for");
        block_on(future)
    });
    begins.recv().expect("it begins");
    told
}

fn status_by_kernel(_: &[String]) {
    let (scenery, [waited, awaited, received, tried, timed, polled, later, ended]) = children();
    let detached = Process::new().expect("processes can be made").detach();
    let detached = with_pidfd(detached);
    let lives = Watched::new(detached.id().expect("it runs"));
    let waiter = by_wait(waited);
    let future = by_future(&awaited);
    let receiver = received.exited_receiver();
    let of_detached = (by_future(&detached), detached.exited_receiver());
    scenery.stop();
    let by_itself = scenery.children.last().expect("there are some");
    by_itself.signal(Signal::SIGUSR1);
    assert!(by_itself.gone_within(at_once()));
    scenery.kill();

    let open = [&tried, &timed, &polled, &awaited, &detached];
    open.into_iter().for_each(is_open);
    let (later_future, later_receiver) = (by_future(&polled), later.exited_receiver());
    for receiver in [&receiver, &later_receiver, &of_detached.1] {
        assert!(receiver.try_recv().is_err(), "nothing is known");
    }
    // They are heard of without their handles.
    drop((received, later));
    println!("reap");
    is_killed(receiver.recv().expect("one message comes"));
    is_killed(later_receiver.recv().expect("one message comes"));
    let (status, waited) = waiter.join().expect("it does not panic");
    is_killed(status);
    for future in [future, later_future] {
        is_killed(future.join().expect("it does not panic"));
    }
    eventually(DEADLINE, "`try_wait` learns of it", || {
        tried.try_wait().expect("it is told in the end").is_some()
    });
    let status = timed.wait_timeout(DEADLINE).expect("it is told");
    is_killed(Ok(status.expect("it has been reaped")));
    for child in [&waited, &awaited, &tried, &timed, &polled] {
        all_say(child, is_killed);
    }
    all_say(&ended, |status| {
        assert_eq!(status.expect("the kernel tells it").signal(), Some(libc::SIGUSR1));
    });

    is_open(&detached);
    let waiter = by_wait(detached);
    interrupt(&waiter);
    lives.signal(Signal::SIGKILL);
    assert!(lives.gone_within(at_once()));
    println!("reap");
    let (status, detached) = waiter.join().expect("it does not panic");
    is_killed(status);
    is_killed(of_detached.0.join().expect("it does not panic"));
    is_killed(of_detached.1.recv().expect("one message comes"));
    all_say(&detached, is_killed);
    println!("done");
}

static INTERRUPTED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    INTERRUPTED.fetch_add(1, Ordering::SeqCst);
}

/// Has a thread that waits handle a signal, which is no reason to stop that.
#[allow(unsafe_code)]
fn interrupt<T>(thread: &JoinHandle<T>) {
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler counts, and does nothing else.
    unsafe { sigaction(Signal::SIGUSR2, &action) }.expect("it can be set");
    for n in 1..=20 {
        // SAFETY: it has not been joined.
        let sent =
            unsafe { libc::pthread_kill(thread.as_pthread_t() as libc::pthread_t, libc::SIGUSR2) };
        assert_eq!(sent, 0);
        eventually(DEADLINE, "it is handled", || INTERRUPTED.load(Ordering::SeqCst) == n);
    }
}

/// Nobody reaps them: after some time it is said that nobody can tell, to all, and for good.
fn never_reaped(_: &[String]) {
    let (scenery, [waited, awaited, received, tried]) = children();
    let (future, receiver) = (by_future(&awaited), received.exited_receiver());
    scenery.stop();
    scenery.kill();
    let waiter = by_wait(waited);
    let mut told = Ok(None);
    eventually(DEADLINE, "it is said", || {
        told = tried.try_wait();
        told.is_err()
    });
    assert_disconnected(told);
    assert_disconnected(future.join().expect("it does not panic"));
    assert_disconnected(receiver.recv().expect("one message comes"));
    let (status, waited) = waiter.join().expect("it does not panic");
    assert_disconnected(status);
    println!("reap");
    for (child, watched) in [waited, awaited, received, tried].iter().zip(&scenery.children) {
        eventually(DEADLINE, "it is reaped", || state(watched.pid()).is_none());
        all_say(child, assert_disconnected);
    }
    println!("done");
}
