//! An asynchronous worker: several count-downs at once in one process.
//!
//! Example 2 of the manual of Perl's `AnyEvent::Fork::RPC`, with shorter steps. "While
//! this is a bit silly (one could use timers in the parent just as well), it illustrates
//! the fact that responses can arrive in a different order than the requests."
//!
//! The worker function only says that it starts, and hands its `Done` to a thread that
//! has been there since `timers` made it. Events and replies arrive in exactly the order
//! in which that thread makes them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use offshoot::{Context, Done, Process};

const STEP: Duration = Duration::from_millis(400);

/// What a timer that goes off every step is for.
struct Timer {
    n: u32,
    count: u32,
    cx: Context<String>,
    done: Done<()>,
}

impl Timer {
    /// Counts; itself, unless the count has been reached.
    fn goes_off(mut self) -> Option<Timer> {
        self.n += 1;
        self.cx.event(&format!("count {} of {}", self.n, self.count));
        if self.n == self.count {
            self.done.complete(());
            return None;
        }
        Some(self)
    }
}

/// Has all timers go off, a step after the last one came, and again every step.
fn keep_time(new: &Receiver<Timer>) {
    while let Ok(first) = new.recv() {
        let mut timers = vec![first];
        while !timers.is_empty() {
            match new.recv_timeout(STEP) {
                Ok(timer) => timers.push(timer),
                Err(RecvTimeoutError::Timeout) => {
                    timers = timers.into_iter().filter_map(Timer::goes_off).collect();
                    // As in the manual: the last that has gone off is the first next time.
                    timers.reverse();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Runs once in the worker, before its first call.
fn timers() -> Sender<Timer> {
    let (sender, receiver) = channel();
    thread::spawn(move || keep_time(&receiver));
    sender
}

#[offshoot::worker(init = timers)]
fn count_up(timers: &mut Sender<Timer>, cx: &Context<String>, done: Done<()>, count: u32) {
    cx.event(&format!("starting to count up to {count}"));
    let timer = Timer { n: 0, count, cx: cx.clone(), done };
    timers.send(timer).expect("that thread does not end before this one");
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rpc = Process::new()?
        .rpc(count_up)
        .on_error(|error| eprintln!("FATAL: {error}"))
        .on_event(|line| println!("{line}"))
        .start()?;
    for count in [3, 2, 1] {
        rpc.call_then(count, move |result| match result {
            Ok(()) => println!("job {count} finished"),
            Err(error) => eprintln!("job {count}: {error}"),
        });
    }
    // No more calls: the worker ends once it has done these.
    rpc.finish()?;
    Ok(())
}
