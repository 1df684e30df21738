//! The least that runs futures: no runtime is needed to wait for a process.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
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

/// Runs all of them on this thread, polling those alone that were woken; what each has
/// returned, in their order, and how often any was woken.
pub fn run_woken<F: Future>(futures: impl IntoIterator<Item = F>) -> (Vec<F::Output>, usize) {
    let (woken, turns) = mpsc::channel();
    let mut tasks: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    let mut left = tasks.len();
    let wakers: Vec<Waker> =
        (0..left).map(|task| Arc::new(Turn { task, woken: woken.clone() }).into()).collect();
    let mut turns = (0..left).chain(turns.iter());
    let mut polls = 0;
    while left > 0 {
        let task = turns.next().expect("the channel is open");
        polls += 1;
        let (future, output) = &mut tasks[task];
        if output.is_none()
            && let Poll::Ready(ready) =
                future.as_mut().poll(&mut Context::from_waker(&wakers[task]))
        {
            *output = Some(ready);
            left -= 1;
        }
    }
    let woken = polls - tasks.len();
    (tasks.into_iter().filter_map(|(_, output)| output).collect(), woken)
}

struct Turn {
    task: usize,
    woken: mpsc::Sender<usize>,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        // Nobody hears of it once all are done.
        let _ = self.woken.send(self.task);
    }
}
