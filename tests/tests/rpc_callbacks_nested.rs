//! Callbacks within callbacks: a thread may be in those of several connections at once, and
//! must wait for none of them.

use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};

use offshoot::{Context, Process, Rpc};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Makes so many events, and returns the number.
#[offshoot::worker]
fn announce(cx: &Context<u32>, events: u32) -> u32 {
    (0..events).for_each(|n| cx.event(&n));
    events
}

type Announcer = Rpc<u32, u32, u32>;

fn start(on_event: impl FnMut(u32) + Send + 'static) -> Announcer {
    Process::new().unwrap().rpc(announce).on_event(on_event).start().unwrap()
}

/// Whether a call can be waited for here, or that would be for ever.
fn can_wait(rpc: &Announcer) -> bool {
    match rpc.call(0).wait() {
        Ok(count) => count == 0,
        Err(error) if error.is_deadlock() => false,
        Err(error) => panic!("{error}"),
    }
}

/// What is known once all are started.
struct All {
    outer: Announcer,
    inner: Announcer,
    third: Announcer,
}

impl All {
    fn can_wait(&self) -> [bool; 3] {
        [&self.outer, &self.inner, &self.third].map(can_wait)
    }
}

#[test]
fn a_thread_waits_for_none_of_the_connections_whose_callbacks_it_is_in() {
    within(DEADLINE, || {
        let all: Arc<OnceLock<All>> = Arc::default();
        let outer_thread: Arc<Mutex<Option<ThreadId>>> = Arc::default();
        let in_both: Arc<Mutex<Option<[bool; 3]>>> = Arc::default();
        let around: Arc<Mutex<Vec<[bool; 3]>>> = Arc::default();

        let (known, thread, heard) = (all.clone(), outer_thread.clone(), in_both.clone());
        let inner = start(move |_| {
            // In the hub's thread, to wait for the outer one would be for ever indeed: it
            // waits for this.
            if *thread.lock().unwrap() == Some(thread::current().id()) {
                *heard.lock().unwrap() = Some(known.wait().can_wait());
            }
        });
        let (known, thread, heard) = (all.clone(), outer_thread.clone(), in_both.clone());
        let said = around.clone();
        let outer = start(move |_| {
            let all = known.wait();
            *thread.lock().unwrap() = Some(thread::current().id());
            said.lock().unwrap().push(all.can_wait());
            // Whoever waits reads, unless the hub is faster.
            while heard.lock().unwrap().is_none() {
                assert_eq!(all.inner.call(1).wait().unwrap(), 1);
            }
            said.lock().unwrap().push(all.can_wait());
            *thread.lock().unwrap() = None;
        });
        all.set(All { outer, inner, third: start(|_| {}) }).ok().unwrap();
        let all = all.wait();
        assert_eq!(all.outer.call(1).wait().unwrap(), 1);
        assert_eq!(*in_both.lock().unwrap(), Some([false, false, true]));
        assert_eq!(*around.lock().unwrap(), [[false, true, true]; 2]);
        assert_eq!(all.can_wait(), [true; 3]);
    });
}
