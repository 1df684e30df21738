//! What a parent hears of a worker, in the order in which it is handed out: events by a
//! callback, replies by the waker of who awaits them.

use std::future::Future;
use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};

use offshoot::{Call, Done, Fd};

/// Lines, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Notes a line.
    pub fn note(&self, line: impl ToString) {
        self.0.lock().unwrap().push(line.to_string());
    }

    /// Notes the line when the call's answer is handed out, which has to be later than now.
    pub fn hear<R>(&self, call: &mut Call<R>, line: impl ToString) {
        let ear = Arc::new(Ear { log: self.clone(), line: line.to_string() });
        let waker = ear.into();
        let polled = Pin::new(call).poll(&mut Context::from_waker(&waker));
        assert!(matches!(polled, Poll::Pending), "it was answered before it was listened to");
    }

    /// All lines.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Ear {
    log: Log,
    line: String,
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        self.log.note(&self.line);
    }
}

/// Holds somebody up until it is opened, which is by being dropped.
pub struct Gate(#[allow(dead_code, reason = "it is there to be dropped")] PipeWriter);

impl Gate {
    /// The gate, and what is to pass it.
    pub fn new() -> (Gate, Fd) {
        let (reader, writer) = pipe().expect("there is room for a pipe");
        (Gate(writer), reader.into())
    }
}

/// Waits until the gate is open. An error is as good: nobody holds it.
pub fn pass(gate: impl AsFd) {
    let gate = gate.as_fd().try_clone_to_owned().expect("there is room for a descriptor");
    let _ = PipeReader::from(gate).read(&mut [0]);
}

/// Says its number as an event, and answers with it once its gate is open, by a thread of
/// its own.
#[offshoot::worker]
pub fn behind(cx: &offshoot::Context<u64>, done: Done<u64>, gate: Fd, n: u64) {
    cx.event(&n);
    std::thread::spawn(move || {
        pass(gate);
        done.complete(n);
    });
}

/// A pipe, of which the writing end is for a worker.
pub fn new_pipe() -> (PipeReader, Fd) {
    let (reader, writer) = pipe().expect("there is room for a pipe");
    (reader, writer.into())
}

/// What is written to a pipe until all its writers are gone.
pub fn rest_of(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("it is text");
    text
}
