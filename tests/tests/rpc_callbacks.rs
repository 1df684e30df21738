//! What callbacks may do, and what becomes of what has none.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use offshoot::{Call, Context, Process, Rpc, RpcBuilder};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Makes so many events, and returns the number.
#[offshoot::worker]
fn announce(cx: &Context<u32>, events: u32) -> u32 {
    (0..events).for_each(|n| cx.event(&n));
    events
}

fn announcer() -> RpcBuilder<u32, u32, u32> {
    Process::new().unwrap().rpc(announce)
}

#[test]
fn an_event_without_on_event_is_an_error_once() {
    within(DEADLINE, || {
        let (sender, errors) = mpsc::channel();
        let note = move |e: offshoot::Error| sender.send(e.to_string()).unwrap();
        let rpc = announcer().on_error(note).start().unwrap();
        for _ in 0..3 {
            assert_eq!(rpc.call(10).wait().unwrap(), 10);
        }
        assert!(rpc.finish().unwrap().success());
        let all: Vec<_> = errors.iter().collect();
        assert!(all.len() == 1 && all[0].contains("on_event"), "{all:?}");
    });
}

#[test]
fn a_callback_that_panics_ends_there() {
    within(DEADLINE, || {
        let (sender, heard) = mpsc::channel();
        let count = Arc::new(AtomicU32::new(0));
        let (counted, gone) = (Arc::clone(&count), sender.clone());
        let rpc = announcer()
            .on_event(move |n| {
                counted.fetch_add(1, Ordering::Relaxed);
                assert!(n != 1, "not this one");
            })
            .on_error(move |e| {
                sender.send(e.to_string()).unwrap();
                panic!("not this either");
            })
            .on_destroy(move || {
                gone.send("destroy".to_owned()).unwrap();
                panic!("nor this");
            })
            .start()
            .unwrap();
        for _ in 0..3 {
            assert_eq!(rpc.call(3).wait().unwrap(), 3);
        }
        assert!(rpc.finish().unwrap().success());
        assert_eq!(count.load(Ordering::Relaxed), 9);
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["destroy"]);
    });
}

type Shared = Arc<OnceLock<Arc<Mutex<Option<Rpc<u32, u32, u32>>>>>>;

/// Runs `inside` in an `on_event`, with the `Rpc` that it belongs to.
fn in_a_callback<T: Send + 'static>(
    max: usize,
    inside: impl Fn(&Rpc<u32, u32, u32>) -> T + Send + 'static,
) -> (Shared, mpsc::Receiver<T>) {
    let shared: Shared = Arc::default();
    let theirs = Arc::clone(&shared);
    let (sender, said) = mpsc::channel();
    let on_event = move |_| {
        let rpc = theirs.wait().lock().unwrap();
        sender.send(inside(rpc.as_ref().expect("it is there yet"))).unwrap();
    };
    let rpc = announcer().max_in_flight(max).on_event(on_event).start().unwrap();
    let call = rpc.call(1);
    shared.set(Arc::new(Mutex::new(Some(rpc)))).ok().unwrap();
    assert_eq!(call.wait().unwrap(), 1);
    (shared, said)
}

fn finish(shared: &Shared) {
    let rpc = shared.wait().lock().unwrap().take().unwrap();
    assert!(rpc.finish().unwrap().success());
}

#[test]
fn a_callback_may_call_but_not_wait() {
    within(DEADLINE, || {
        let (shared, said) = in_a_callback(100, |rpc| {
            let errors =
                [rpc.call(0).wait().unwrap_err(), rpc.call(0).wait_timeout(DEADLINE).unwrap_err()];
            assert!(errors.iter().all(offshoot::Error::is_deadlock), "{errors:?}");
            let mut untold = rpc.call(0);
            assert_eq!(untold.try_wait().unwrap(), None);
            (untold, rpc.call(0).into_receiver())
        });
        let (untold, receiver): (Call<u32>, _) = said.recv().unwrap();
        assert_eq!(untold.wait().unwrap(), 0);
        assert_eq!(receiver.recv().unwrap().unwrap(), 0);
        finish(&shared);
    });
}

#[test]
fn a_callback_does_not_wait_for_room() {
    within(DEADLINE, || {
        // The call that the event is about is the one that may be open.
        let (shared, said) = in_a_callback(1, |rpc| rpc.call(0).wait().unwrap_err());
        assert!(said.recv().unwrap().is_full());
        finish(&shared);
    });
}

#[test]
fn a_callback_may_drop_the_handle_or_finish_is_refused() {
    within(DEADLINE, || {
        for finishes in [false, true] {
            let cell: Arc<Mutex<Option<Rpc<u32, u32, u32>>>> = Arc::default();
            let (theirs, (sender, said)) = (Arc::clone(&cell), mpsc::channel());
            let (go, gone) = mpsc::channel::<()>();
            let destroyed = sender.clone();
            let rpc = announcer()
                .on_event(move |_| {
                    gone.recv().unwrap();
                    let rpc = theirs.lock().unwrap().take().unwrap();
                    if finishes {
                        let error = rpc.finish().unwrap_err();
                        sender.send(error.is_deadlock()).unwrap();
                    }
                })
                .on_destroy(move || destroyed.send(true).unwrap())
                .start()
                .unwrap();
            drop(rpc.call(1));
            *cell.lock().unwrap() = Some(rpc);
            go.send(()).unwrap();
            let all: Vec<_> = said.iter().collect();
            assert_eq!(all, vec![true; 1 + usize::from(finishes)]);
        }
    });
}
