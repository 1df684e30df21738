//! Whose a descriptor is that has arrived, or for which there is no room: results and
//! events, wanted or not; seen as in `owned.rs`.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context as Poller, Waker};

use offshoot::{Context, Done, Fd, Process};
use offshoot_tests::marked::{touch, watched};

use super::owned::{Do, act, goes_on, hold, test, worker};

#[test]
fn a_result_that_nobody_wants() {
    test(|| {
        let rpc = worker();
        let (fd, closed) = watched();
        drop(rpc.call(Do::Back(fd)));
        goes_on(&rpc);
        assert_eq!(closed.closed(), "");
        let (fd, closed) = watched();
        let receiver = rpc.call(Do::Back(fd)).into_receiver();
        drop(receiver);
        goes_on(&rpc);
        assert_eq!(closed.closed(), "");
    });
}

#[test]
fn a_result_is_its_receivers() {
    test(|| {
        let rpc = worker();
        let (fd, closed) = watched();
        let back = rpc.call(Do::Back(fd)).wait().unwrap();
        goes_on(&rpc);
        touch(back.0.as_ref().unwrap());
        let owned = back.0.unwrap().into_owned().unwrap();
        drop(owned);
        assert_eq!(closed.closed(), "x");
    });
}

#[test]
fn an_event_that_nobody_wants() {
    test(|| {
        let (sender, errors) = channel();
        let rpc = Process::new().unwrap().rpc(act);
        let rpc = rpc.on_error(move |error| sender.send(error.to_string()).unwrap());
        let rpc = rpc.start().unwrap();
        for _ in 0..3 {
            let (fd, closed) = watched();
            rpc.call(Do::Event(fd)).wait().unwrap();
            assert_eq!(closed.closed(), "");
        }
        goes_on(&rpc);
        rpc.finish().unwrap();
        let told: Vec<_> = errors.iter().collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("no `on_event`"), "{told:?}");
    });
}

fn events(on_event: impl Fn(&Sender<Fd>, Fd) + Send + 'static) -> String {
    let (sender, kept) = channel();
    let rpc = Process::new().unwrap().rpc(act).on_event(move |fd| on_event(&sender, fd));
    let rpc = rpc.start().unwrap();
    let (fd, closed) = watched();
    rpc.call(Do::Event(fd)).wait().unwrap();
    goes_on(&rpc);
    rpc.finish().unwrap();
    kept.iter().for_each(|fd| touch(&fd));
    closed.closed()
}

#[test]
fn an_event_is_the_callbacks() {
    test(|| {
        assert_eq!(events(|sender, fd| sender.send(fd).unwrap()), "x", "kept");
        assert_eq!(events(|_, fd| drop(fd)), "", "dropped");
        assert_eq!(events(|_, _fd| panic!("as it is to")), "", "panicked");
    });
}

#[offshoot::worker(init = never)]
fn uninitialised(_state: &mut u8, fd: Fd) -> Fd {
    fd
}

fn never() -> Result<u8, String> {
    Err("not today".to_owned())
}

#[test]
fn a_worker_that_cannot_be_initialised() {
    test(|| {
        let rpc = Process::new().unwrap().rpc(uninitialised).start().unwrap();
        let (fd, closed) = watched();
        let calls: Vec<_> = (0..5).map(|_| rpc.call(fd.clone())).collect();
        drop(fd);
        for call in calls {
            assert!(call.wait().unwrap_err().is_init());
        }
        assert_eq!(closed.closed(), "");
    });
}

#[test]
fn a_call_for_which_there_is_no_room() {
    test(|| {
        let rpc = Process::new().unwrap().rpc(act).max_in_flight(1).start().unwrap();
        let gate = hold(&rpc);
        let (fd, closed) = watched();
        let refused = rpc.try_call(Do::Back(fd)).unwrap_err();
        assert!(refused.error.is_full());
        let Do::Back(fd) = &refused.args else { panic!("they are what they were") };
        touch(fd);
        drop(refused);
        assert_eq!(closed.closed(), "x");

        let (fd, closed) = watched();
        {
            let mut waits = pin!(rpc.call_async(Do::Back(fd)));
            let mut poller = Poller::from_waker(Waker::noop());
            assert!(waits.as_mut().poll(&mut poller).is_pending());
        }
        assert_eq!(closed.closed(), "", "nobody awaits it any more");
        drop(gate);
        goes_on(&rpc);
    });
}

/// Answers the first call when the second comes, and drops the others at the fourth.
#[offshoot::worker(init = Vec::new)]
fn later(kept: &mut Vec<Option<(Done<Fd>, Fd)>>, cx: &Context<Fd>, done: Done<Fd>, fd: Fd) {
    cx.event(&fd);
    kept.push(Some((done, fd)));
    if kept.len() == 2 {
        let (done, fd) = kept[0].take().unwrap();
        done.complete(fd);
    } else if kept.len() == 4 {
        kept.clear();
    }
}

#[test]
fn an_asynchronous_worker() {
    test(|| {
        let rpc = Process::new().unwrap().rpc(later).start().unwrap();
        let events = rpc.events();
        let ((a, a_closed), (b, b_closed), (c, c_closed)) = (watched(), watched(), watched());
        let (first, second) = (rpc.call(a), rpc.call(b));
        touch(&first.wait().unwrap());
        let third = rpc.call(c);
        for _ in 0..3 {
            touch(&events.recv().unwrap());
        }
        assert_eq!(a_closed.closed(), "xx", "of the result and of the event");
        let fourth = rpc.call(watched().0);
        drop(events.recv().unwrap());
        assert!(second.wait().unwrap_err().is_unanswered());
        assert!(third.wait().unwrap_err().is_unanswered());
        assert_eq!(b_closed.closed() + &c_closed.closed(), "xx", "of the events");
        assert!(fourth.wait().unwrap_err().is_unanswered());
    });
}
