//! What the program is told of that concerns no call.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use crate::error::Error;
use crate::rpc::pooled::{OnError, quietly};

/// The program's `on_error`. What comes while it runs, be it from itself, is told by
/// whoever runs it.
pub(super) struct Complaints(Mutex<Told>);

struct Told {
    /// None while it runs.
    on_error: Option<OnError>,
    waiting: VecDeque<Error>,
}

impl Complaints {
    pub(super) fn new(on_error: OnError) -> Complaints {
        Complaints(Mutex::new(Told { on_error: Some(on_error), waiting: VecDeque::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn tell(&self, error: Error) {
        let mut told = self.lock();
        told.waiting.push_back(error);
        let Some(mut on_error) = told.on_error.take() else { return };
        while let Some(next) = told.waiting.pop_front() {
            drop(told);
            quietly(|| on_error(next));
            told = self.lock();
        }
        // Under the same lock as the last look: what comes now finds it here.
        told.on_error = Some(on_error);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Barrier, OnceLock};
    use std::thread;

    use super::*;
    use crate::error::Fault;

    fn an_error() -> Error {
        Fault::Cancelled.into()
    }

    #[test]
    fn what_comes_while_it_runs_is_told_by_whoever_runs_it() {
        let (sender, receiver) = channel();
        let (runs, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let (running, going_on) = (Arc::clone(&runs), Arc::clone(&go_on));
        let mut first = true;
        let complaints = Complaints::new(Box::new(move |_| {
            if std::mem::replace(&mut first, false) {
                running.wait();
                going_on.wait();
            }
            sender.send(thread::current().id()).unwrap();
        }));
        thread::scope(|s| {
            let runner = s.spawn(|| complaints.tell(an_error()));
            runs.wait();
            // It does not wait for the other one.
            complaints.tell(an_error());
            go_on.wait();
            let id = runner.thread().id();
            runner.join().unwrap();
            assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [id, id]);
        });
    }

    #[test]
    fn it_may_tell_itself_and_panic() {
        let count = Arc::new(AtomicUsize::new(0));
        let (counted, own) = (Arc::clone(&count), Arc::new(OnceLock::<Arc<Complaints>>::new()));
        let used = Arc::clone(&own);
        let complaints = Complaints::new(Box::new(move |_| {
            if counted.fetch_add(1, Ordering::Relaxed) < 10 {
                used.get().unwrap().tell(an_error());
                panic!("on purpose");
            }
        }));
        let complaints = Arc::new(complaints);
        assert!(own.set(Arc::clone(&complaints)).is_ok());
        complaints.tell(an_error());
        assert_eq!(count.load(Ordering::Relaxed), 11);
        complaints.tell(an_error());
        assert_eq!(count.load(Ordering::Relaxed), 12);
    }
}
