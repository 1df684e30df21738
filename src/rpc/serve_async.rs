//! The asynchronous worker whose function is an `async fn`: all calls are tasks of one
//! thread, on a runtime of tokio that has timers and the network.
//!
//! One future reads calls, starts them, and sends what is queued. While very much is, it
//! neither reads nor starts any, and what has been called waits with its result.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::unix::AsyncFd;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, LocalSet, spawn_local};

use super::codec::{Body, CodecError};
use super::context::Context;
use super::frame::{Failed, Kind};
use super::inbox::Filled;
use super::intake::{Intake, Runs};
use super::output::Output;
use super::panics;
use super::session::{Session, refused};
use super::worker::{CalledAsync, Speech};
use crate::start::Start;
use crate::sys::readiness;

/// Serves a worker until the parent is done and all calls are; the exit status.
#[doc(hidden)]
pub fn serve_async<W: CalledAsync>(
    start: Start,
    speeches: &'static [Speech<W::Args, W::Reply, W::Event>],
) -> u8 {
    let (session, queued) = match Session::begin(start) {
        Ok(begun) => begun,
        Err(status) => return status,
    };
    let _ends = session.ends();
    let Some(speech) = speeches.get(session.hello.codec as usize) else {
        return refused("it does not know that codec");
    };
    let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(why) => return refused(why),
    };
    let cx = session.context(speech.encode_event);
    let state = {
        let _inside = runtime.enter();
        session.init(|given| W::init(queued, given, &cx))
    };
    let Some(state) = state else { return 1 };
    let output = session.output();
    let changed = Arc::new(Notify::new());
    let tell = Arc::clone(&changed);
    output.queue(move || tell.notify_one());
    let shared = Shared {
        output: Arc::clone(&output),
        changed,
        room: Notify::new(),
        open: Cell::new(0),
        tasks: RefCell::default(),
        keep_after_panic: session.hello.keep_after_panic,
        harmed: Cell::new(false),
    };
    let runner = Runner::<W> {
        state: Rc::new(state),
        cx,
        speech,
        shared: Rc::new(shared),
        max_concurrent: session.hello.max_concurrent as usize,
    };
    let tasks = LocalSet::new();
    if let Err(status) = tasks.block_on(&runtime, serve(session, runner)) {
        output.flush();
        return status;
    }
    output.flush();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        {
            // What was started beside the calls is dropped where it belongs.
            let _inside = runtime.enter();
            drop(tasks);
        }
        W::done();
    }));
    output.flush();
    // Nobody waits for a thread that blocks.
    runtime.shutdown_background();
    if ended.is_ok() { 0 } else { panics::STATUS }
}

/// Starts calls until there are no more, and waits until they have been completed. An
/// error is the exit status.
async fn serve<W: CalledAsync>(mut session: Session, mut runner: Runner<W>) -> Result<(), u8> {
    let shared = Rc::clone(&runner.shared);
    let socket = readiness::watch(&shared.output.socket).map_err(refused)?;
    let mut intake = Intake::default();
    let mut ended = false;
    loop {
        intake.run(&mut session, &mut runner)?;
        if shared.harmed.get() && !shared.keep_after_panic {
            return Err(panics::STATUS);
        }
        if intake.is_finished() && !intake.waits() && shared.open.get() == 0 {
            return Ok(());
        }
        let read = !ended && !shared.output.is_over();
        if turn(&mut session, &socket, &shared, read).await? {
            ended = true;
            intake.finish();
        }
        if !shared.output.is_over() {
            shared.room.notify_waiters();
        }
    }
}

/// Waits until there is something to do: calls have come (or the end of them: `true`), a
/// call has ended, or there is room again for results.
async fn turn(
    session: &mut Session,
    socket: &AsyncFd<OwnedFd>,
    shared: &Shared,
    read: bool,
) -> Result<bool, u8> {
    let failed = |why: io::Error| refused(why);
    let was_over = shared.output.is_over();
    let mut changed = pin!(shared.changed.notified());
    poll_fn(|context| {
        let mut turned = changed.as_mut().poll(context).is_ready();
        while shared.output.is_queued()
            && let Poll::Ready(ready) = socket.poll_write_ready(context)
        {
            let mut ready = ready.map_err(failed)?;
            if !shared.output.drain() {
                ready.clear_ready();
            }
        }
        turned |= was_over && !shared.output.is_over();
        while read && let Poll::Ready(ready) = socket.poll_read_ready(context) {
            let mut ready = ready.map_err(failed)?;
            match session.take_in()? {
                Filled::Nothing => ready.clear_ready(),
                Filled::Some => return Poll::Ready(Ok(false)),
                Filled::End => return Poll::Ready(Ok(true)),
            }
        }
        if turned { Poll::Ready(Ok(false)) } else { Poll::Pending }
    })
    .await
}

struct Runner<W: CalledAsync> {
    state: Rc<W::State>,
    cx: Context<W::Event>,
    speech: &'static Speech<W::Args, W::Reply, W::Event>,
    shared: Rc<Shared>,
    max_concurrent: usize,
}

/// What tasks have in common with the one who starts them.
struct Shared {
    output: Arc<Output>,
    /// A call has ended, or something is queued.
    changed: Arc<Notify>,
    /// For those that wait with a result.
    room: Notify,
    open: Cell<usize>,
    /// Of calls that have no answer yet.
    tasks: RefCell<HashMap<u32, AbortHandle>>,
    keep_after_panic: bool,
    harmed: Cell<bool>,
}

impl Shared {
    fn panicked(&self, call: u32, why: &Failed) {
        self.output.fail(call, why);
        self.harmed.set(true);
        self.changed.notify_one();
    }
}

/// A task, for as long as it is there: also one that is being aborted.
struct Running(Rc<Shared>);

impl Running {
    fn new(shared: &Rc<Shared>) -> Running {
        shared.open.set(shared.open.get() + 1);
        Running(Rc::clone(shared))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.changed.notify_one();
    }
}

impl<W: CalledAsync> Runs for Runner<W> {
    fn has_room(&self) -> bool {
        self.shared.open.get() < self.max_concurrent && !self.shared.output.is_over()
    }

    fn start(&mut self, call: u32, body: &Body<'_>, fds: Vec<OwnedFd>) -> Result<(), u8> {
        let future = catch_unwind(AssertUnwindSafe(|| {
            let args = super::fd::provide(fds, || (self.speech.decode_args)(body))?;
            Ok::<_, CodecError>(W::call(Rc::clone(&self.state), self.cx.clone(), args))
        }));
        let future = match future {
            Ok(Ok(future)) => future,
            Ok(Err(why)) => {
                self.shared.output.fail(call, &Failed::Codec(why.to_string()));
                return Ok(());
            }
            Err(payload) => {
                self.shared.panicked(call, &panics::taken(&*payload));
                return Ok(());
            }
        };
        let encode = self.speech.encode_reply;
        let running = Running::new(&self.shared);
        let task = spawn_local(async move {
            let shared = &running.0;
            let outcome = caught(future).await;
            while shared.output.is_over() {
                shared.room.notified().await;
            }
            // From here to the answer there is no await, so it cannot be aborted.
            shared.tasks.borrow_mut().remove(&call);
            let sent = outcome.and_then(|reply| {
                let send = || shared.output.send(Kind::Reply, call, |sink| encode(&reply, sink));
                catch_unwind(AssertUnwindSafe(send)).map_err(|p| panics::taken(&*p))
            });
            if let Err(panic) = sent {
                shared.panicked(call, &panic);
            }
        });
        self.shared.tasks.borrow_mut().insert(call, task.abort_handle());
        Ok(())
    }

    fn cancel(&mut self, call: u32) {
        let task = self.shared.tasks.borrow_mut().remove(&call);
        if let Some(task) = task {
            task.abort();
            self.shared.output.fail(call, &Failed::Cancelled);
        }
    }
}

/// The future's result, or the panic that it ended with.
async fn caught<F: Future>(future: F) -> Result<F::Output, Failed> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(panics::taken(&*payload))),
        }
    })
    .await
}
