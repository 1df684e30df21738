//! The asynchronous worker whose calls are completed by `Done`: one thread reads calls
//! and starts them, any thread answers.
//!
//! That thread sleeps in a read where only a call can bring it work, and else in a poll
//! of the stream and of a bell, which is rung by the one who makes room for a call that
//! waits, or completes the last one.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::codec::Body;
use super::context::Context;
use super::done::{Calls, Done, Ticket};
use super::frame::Failed;
use super::inbox::Filled;
use super::intake::{Intake, Runs};
use super::output::Output;
use super::panics;
use super::session::{Next, Session, refused};
use super::worker::{CalledDone, Speech};
use crate::start::Start;

/// Serves a worker until the parent is done and all calls are; the exit status.
#[doc(hidden)]
pub fn serve_done<W: CalledDone>(
    start: Start,
    speeches: &'static [Speech<W::Args, W::Reply, W::Event>],
) -> u8 {
    let (mut session, queued) = match Session::begin(start) {
        Ok(begun) => begun,
        Err(status) => return status,
    };
    let _ends = session.ends();
    let Some(speech) = speeches.get(session.hello.codec as usize) else {
        return refused("it does not know that codec");
    };
    let cx = session.context(speech.encode_event);
    let Some(state) = session.init(|given| W::init(queued, given, &cx)) else { return 1 };
    let output = session.output();
    let calls = match Calls::new(Arc::clone(&output), session.hello.pooled) {
        Ok(calls) => calls,
        Err(why) => return refused(why),
    };
    let mut runner = Runner::<W> {
        state,
        cx,
        speech,
        calls,
        output: Arc::clone(&output),
        started: HashMap::new(),
        max_concurrent: session.hello.max_concurrent as usize,
        keep_after_panic: session.hello.keep_after_panic,
    };
    if let Err(status) = run(&mut session, &mut runner) {
        output.flush();
        return status;
    }
    let ended = catch_unwind(AssertUnwindSafe(|| {
        drop(runner);
        W::done();
    }));
    output.flush();
    if ended.is_ok() { 0 } else { panics::STATUS }
}

/// Starts calls until there are no more, and waits until they have been completed. An
/// error is the exit status.
fn run<W: CalledDone>(session: &mut Session, runner: &mut Runner<W>) -> Result<(), u8> {
    let mut intake = Intake::default();
    let mut ended = false;
    loop {
        intake.run(session, runner)?;
        if !intake.waits() && !intake.is_finished() {
            match session.next_frame()? {
                Next::Frame => {}
                Next::End => {
                    ended = true;
                    intake.finish();
                }
            }
            continue;
        }
        let enough = if intake.waits() { runner.max_concurrent - 1 } else { 0 };
        if !runner.calls.ring_at(enough) {
            if !intake.waits() {
                return Ok(());
            }
            continue;
        }
        if wait(session, &runner.calls, !ended)? && session.take_in()? == Filled::End {
            ended = true;
            intake.finish();
        }
    }
}

/// Waits for the bell, and for something to read as well if so wanted; whether there is.
fn wait(session: &Session, calls: &Calls, read: bool) -> Result<bool, u8> {
    let bell = PollFd::new(calls.bell().as_fd(), PollFlags::POLLIN);
    let mut polled = [bell, PollFd::new(session.socket(), PollFlags::POLLIN)];
    let polled = if read { &mut polled[..] } else { &mut polled[..1] };
    match poll(polled, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(why) => return Err(refused(why)),
    }
    let is_there = |polled: &PollFd<'_>| polled.any().unwrap_or(true);
    if is_there(&polled[0]) {
        // Empty, if a signal was what ended the wait.
        let _ = calls.bell().read();
    }
    Ok(polled.get(1).is_some_and(is_there))
}

struct Runner<W: CalledDone> {
    state: W::State,
    cx: Context<W::Event>,
    speech: &'static Speech<W::Args, W::Reply, W::Event>,
    calls: Arc<Calls>,
    output: Arc<Output>,
    /// By number, until another call has it: it may have been answered since.
    started: HashMap<u32, Arc<Ticket>>,
    max_concurrent: usize,
    keep_after_panic: bool,
}

impl<W: CalledDone> Runs for Runner<W> {
    fn has_room(&self) -> bool {
        self.calls.open() < self.max_concurrent
    }

    fn start(&mut self, call: u32, body: &Body<'_>, fds: Vec<OwnedFd>) -> Result<(), u8> {
        let ticket = Ticket::new(call);
        self.started.insert(call, Arc::clone(&ticket));
        let mut why = Failed::Unanswered;
        let function = || {
            let decode = || (self.speech.decode_args)(body);
            let args = match super::fd::provide(fds, decode) {
                Ok(args) => args,
                Err(e) => {
                    why = Failed::Codec(e.to_string());
                    return false;
                }
            };
            let done = Done::new(self.calls.begin(&ticket), self.speech.encode_reply);
            W::call(&mut self.state, &self.cx, done, args);
            true
        };
        let (answered, harmed) = match ticket.run(function) {
            Ok(answered) => (answered, false),
            Err(panic) => {
                why = panic;
                (false, true)
            }
        };
        if !answered && ticket.answers().is_some() {
            self.output.fail(call, &why);
        }
        if harmed && !self.keep_after_panic { Err(panics::STATUS) } else { Ok(()) }
    }

    fn cancel(&mut self, call: u32) {
        if let Some(ticket) = self.started.remove(&call) {
            self.calls.cancel(&ticket);
        }
    }
}
