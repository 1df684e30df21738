//! A subscriber that is told of the end of a worker's spans, and calls it.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};

use offshoot::{Error, Process, Rpc};
use offshoot_tests::{DEADLINE, within};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, info_span};

/// Leaves a span open, or ends within it.
#[offshoot::worker]
fn stays_in_a_span(ends: bool) {
    if ends {
        std::process::exit(5);
    }
    std::mem::forget(info_span!("open"));
}

#[derive(Default)]
struct Calls {
    rpc: OnceLock<Rpc<bool, ()>>,
    tell: OnceLock<Mutex<Sender<Error>>>,
}

struct Asks(Arc<Calls>);

impl Subscriber for Asks {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn try_close(&self, _: Id) -> bool {
        let error = self.0.rpc.get().expect("it has been called").call(false).wait().unwrap_err();
        self.0.tell.get().expect("the test listens").lock().unwrap().send(error).unwrap();
        true
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn it_cannot_wait_for_that() {
    within(DEADLINE, || {
        let calls: Arc<Calls> = Arc::default();
        let (tell, told) = channel();
        assert!(calls.tell.set(Mutex::new(tell)).is_ok());
        let asks = Asks(Arc::clone(&calls));
        let rpc = tracing::subscriber::with_default(asks, || {
            Process::new().unwrap().rpc(stays_in_a_span).forward_logs(true).start().unwrap()
        });
        assert!(calls.rpc.set(rpc).is_ok());
        let rpc = calls.rpc.get().unwrap();
        rpc.call(false).wait().unwrap();
        let error = rpc.call(true).wait().unwrap_err();
        assert_eq!(error.exit_status().unwrap().code(), Some(5));
        let error = told.recv().unwrap();
        assert!(error.is_deadlock(), "{error}");
    });
}
