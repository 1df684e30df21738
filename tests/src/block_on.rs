//! The least that runs futures: no runtime is needed to wait for a process.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

/// Wakes a thread, and counts how often.
pub struct Bell {
    thread: Thread,
    rings: AtomicUsize,
}

impl Bell {
    /// A bell for the current thread.
    pub fn new() -> Arc<Bell> {
        Arc::new(Bell { thread: thread::current(), rings: AtomicUsize::new(0) })
    }

    /// How often it was rung.
    pub fn rings(&self) -> usize {
        self.rings.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Runs a future on this thread, which sleeps until it is woken.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let bell = Bell::new();
    loop {
        let seen = bell.rings();
        if let Poll::Ready(output) =
            future.as_mut().poll(&mut Context::from_waker(&Arc::clone(&bell).into()))
        {
            return output;
        }
        // Not by chance: only a ring is a reason to look again.
        while bell.rings() == seen {
            thread::park();
        }
    }
}

/// All of them at once; what each has returned, in their order.
pub async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(ready) = Pin::new(future).poll(context)
            {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
