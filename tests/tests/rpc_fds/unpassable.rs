//! Descriptors that the kernel passes to nobody: those of io_uring, since Linux 6.7.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::channel;

use offshoot::{Context, Error, Fd, Process};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::marked::watched;
use offshoot_tests::{DEADLINE, kernel_is_at_least, within};

/// One of them, if there are any here.
fn unpassable() -> Option<Fd> {
    // A `struct io_uring_params`, all zeroes.
    let mut params = [0u64; 15];
    // SAFETY: the kernel reads and writes the parameters, for which there is room.
    #[allow(unsafe_code)]
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    // SAFETY: it is new, and nobody else's.
    #[allow(unsafe_code)]
    let fd = (fd > 2).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) });
    fd.map(Fd::from).filter(|_| kernel_is_at_least(6, 7))
}

/// Gives them back, or as many of its own with one among them that cannot be passed.
#[offshoot::worker]
fn gives(cx: &Context<Vec<Fd>>, fds: Vec<Fd>, own: bool, event: bool) -> Vec<Fd> {
    let mut all = fds;
    if own {
        all.push(unpassable().expect("there are some here"));
    }
    if !event {
        return all;
    }
    cx.event(&all);
    Vec::new()
}

fn is_about_it(error: &Error) {
    assert!(error.is_codec() && error.to_string().contains("cannot be passed"), "{error}");
}

#[test]
fn only_the_call_that_has_one_fails() {
    within(DEADLINE, || {
        if unpassable().is_none() {
            return println!("skipped: there is no io_uring here");
        }
        let (sender, errors) = std::sync::mpsc::channel();
        let rpc = Process::new().unwrap().rpc(gives).on_event(drop);
        let rpc = rpc.on_error(move |error| sender.send(error).unwrap()).start().unwrap();
        // One message, and several, of which the last is the one that cannot be sent, or
        // the first.
        for (before, behind) in [(0, 0), (3, 3), (300, 0), (0, 300)] {
            let (fd, closed) = watched();
            let mut fds = vec![fd.clone(); before];
            fds.push(unpassable().unwrap());
            fds.extend(vec![fd.clone(); behind]);
            let bad = rpc.call((fds, false, false));
            let good = rpc.call((vec![fd.clone(), fd], false, false));
            is_about_it(&bad.wait().unwrap_err());
            assert_eq!(good.wait().unwrap().len(), 2);
            assert_eq!(closed.closed(), "");
        }
        for count in [0, 300] {
            let (fd, closed) = watched();
            let bad = rpc.call((vec![fd.clone(); count], true, false));
            let good = rpc.call((vec![fd], false, false));
            is_about_it(&bad.wait().unwrap_err());
            assert_eq!(good.wait().unwrap().len(), 1);
            assert_eq!(closed.closed(), "");
        }
        rpc.call((vec![], true, true)).wait().unwrap();
        is_about_it(&errors.recv().unwrap());
        assert!(rpc.finish().unwrap().success());
        assert!(errors.recv().is_err());
    });
}

/// Answers once its gate is open.
#[offshoot::worker]
fn gated(gate: Fd, _more: Vec<Fd>) {
    pass(gate);
}

#[test]
fn its_callback_cannot_wait() {
    within(DEADLINE, || {
        if unpassable().is_none() {
            return println!("skipped: there is no io_uring here");
        }
        let rpc = Arc::new(Process::new().unwrap().rpc(gated).start().unwrap());
        let (gate, closed) = Gate::new();
        // So many that the next one is not sent at once.
        let calls: Vec<_> = (0..20).map(|_| rpc.call((closed.clone(), vec![]))).collect();
        let (tell, told) = channel();
        let (again, free) = (Arc::clone(&rpc), closed.clone());
        rpc.call_then((closed.clone(), vec![unpassable().unwrap()]), move |result| {
            let inner = again.call((free, vec![])).wait();
            drop(again);
            tell.send((result.unwrap_err(), inner.unwrap_err())).unwrap();
        });
        drop((gate, closed));
        for call in calls {
            call.wait().unwrap();
        }
        let (error, inner) = told.recv().unwrap();
        is_about_it(&error);
        assert!(inner.is_deadlock(), "{inner}");
        assert!(Arc::into_inner(rpc).expect("the callback is gone").finish().unwrap().success());
    });
}
