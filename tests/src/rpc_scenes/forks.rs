//! Scenes of programs that fork by themselves while they have workers.

use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use offshoot::Process;
use offshoot_tests::proc::threads;

use super::{add, process};

/// A fork of this program has the handles of its parent, and can do nothing with them,
/// nor anything to them.
pub(super) fn fork() {
    let rpc = process().rpc(add).start().unwrap();
    let other = process().rpc(add).start().unwrap();
    assert_eq!(rpc.call((1, 2)).wait().unwrap(), 3);
    let (open, finished, dropped) = (rpc.call((2, 2)), other, rpc.call((3, 3)));
    let (mut looked_at, received) = (rpc.call((3, 4)), rpc.call((3, 5)));
    // SAFETY: no other thread holds a lock: those of this library sleep.
    if let nix::unistd::ForkResult::Parent { child } = unsafe { nix::unistd::fork() }.unwrap() {
        let status = nix::sys::wait::waitpid(child, None).unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
        assert_eq!(open.wait().unwrap(), 4);
        assert_eq!(dropped.wait().unwrap(), 6);
        assert_eq!(looked_at.wait().unwrap(), 7);
        assert_eq!(received.wait().unwrap(), 8);
        assert_eq!(finished.call((4, 4)).wait().unwrap(), 8);
        assert_eq!(rpc.call((4, 5)).wait().unwrap(), 9);
        assert!(rpc.finish().unwrap().success());
        assert!(finished.finish().unwrap().success());
        println!("the parent's are the parent's");
        return;
    }
    let refused = |what, error: offshoot::Error| assert!(error.is_not_owner(), "{what}: {error}");
    refused("call", rpc.call((1, 1)).wait().unwrap_err());
    refused("try_call", rpc.try_call((1, 1)).unwrap_err().error);
    open.cancel();
    refused("wait", open.wait().unwrap_err());
    refused("try_wait", looked_at.try_wait().unwrap_err());
    refused("into_receiver", received.into_receiver().recv().unwrap().unwrap_err());
    rpc.call_then((1, 1), move |result| refused("call_then", result.unwrap_err()));
    assert!(rpc.events().recv().is_err(), "there are no events here");
    assert_eq!(threads(), 1, "nobody reads here");
    refused("kill", rpc.kill().unwrap_err());
    refused("finish", finished.finish().unwrap_err());
    drop(dropped);
    drop(rpc);
    // It can have workers of its own.
    let own = Process::new().unwrap().rpc(add).start().unwrap();
    assert_eq!(own.call((5, 5)).wait().unwrap(), 10);
    assert!(own.finish().unwrap().success());
    // SAFETY: it runs nothing of the parent's.
    unsafe { libc::_exit(0) }
}

/// Forks of this program let go of what they have of a connection that threads use, of
/// which none is there: whatever lock one of these holds just then.
pub(super) fn fork_busy() {
    let rpc = process().rpc(add).start().unwrap();
    assert_eq!(rpc.call((1, 2)).wait().unwrap(), 3);
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(rpc.try_call((1, 1)));
                }
            });
        }
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = process().rpc(add).start().unwrap().finish().unwrap();
            }
        });
        for n in 0..300 {
            let (call, other) = (rpc.call((n, 1)), process().rpc(add).start().unwrap());
            // SAFETY: the fork drops a handle, which takes no lock of the allocator's that
            // libc does not look after, and ends.
            match unsafe { nix::unistd::fork() }.unwrap() {
                nix::unistd::ForkResult::Child => {
                    drop((call, other));
                    // SAFETY: it runs nothing of the parent's.
                    unsafe { libc::_exit(0) }
                }
                nix::unistd::ForkResult::Parent { child } => {
                    let status = nix::sys::wait::waitpid(child, None).unwrap();
                    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
                    assert_eq!(call.wait().unwrap(), n + 1);
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(rpc.finish().unwrap().success());
    println!("nobody waits");
}

/// Says that it is being dropped, and stays there until it is let go.
struct Slow {
    entered: Sender<()>,
    leave: Mutex<Receiver<()>>,
}

impl Wake for Slow {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.entered.send(()).unwrap();
        // Without a sender nobody looks any more.
        let _ = self.leave.lock().unwrap().recv();
    }
}

/// Forks of this program poll, and let go of, the end of a process that a thread, which is
/// not there, is just about to let go of.
pub(super) fn fork_exited() {
    let child = process().exec(["sleep", "1000"]).unwrap();
    let (mut polled, mut other) = (child.exited(), child.exited());
    let (entered, has_entered) = channel();
    let (leave, may_leave) = channel();
    let slow = Waker::from(Arc::new(Slow { entered, leave: Mutex::new(may_leave) }));
    assert!(Pin::new(&mut polled).poll(&mut Context::from_waker(&slow)).is_pending());
    drop(slow);
    // With it goes its waker.
    let lets_go = std::thread::spawn(move || drop(polled));
    has_entered.recv().unwrap();
    // SAFETY: the allocator is the C library's, which looks after itself in a fork; the fork
    // takes no other lock, or is ended by the alarm.
    if let nix::unistd::ForkResult::Parent { child: fork } = unsafe { nix::unistd::fork() }.unwrap()
    {
        let status = nix::sys::wait::waitpid(fork, None).unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(fork, 0));
        leave.send(()).unwrap();
        lets_go.join().unwrap();
        child.kill().unwrap();
        assert!(child.wait().unwrap().signal().is_some());
        println!("let go");
        return;
    }
    // SAFETY: no memory is named.
    unsafe { libc::alarm(20) };
    let told = Pin::new(&mut other).poll(&mut Context::from_waker(Waker::noop()));
    let is_refused = matches!(told, Poll::Ready(Err(error)) if error.is_not_owner());
    drop(other);
    // SAFETY: it runs nothing of the parent's.
    unsafe { libc::_exit(if is_refused { 0 } else { 1 }) }
}
