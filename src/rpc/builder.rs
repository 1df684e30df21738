//! What an `Rpc` is started with.

use std::any::TypeId;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::handle::Rpc;
use super::handlers::Set;
use super::terms::Terms;
use super::worker::Worker;
use crate::error::Error;
use crate::process::Process;

/// A worker that is about to be started; see [`Process::rpc`].
#[must_use = "nothing is started before `start`"]
pub struct RpcBuilder<A: 'static, R: 'static, E: 'static = ()> {
    process: Process,
    terms: Terms<A, R, E>,
    on_event: Option<Box<dyn FnMut(E) + Send>>,
    set: Set,
}

impl Process {
    /// The last command: `worker` takes the process over, and can be called from here.
    ///
    /// What was sent to the process goes to the worker's init function; without one, it is
    /// dropped there.
    ///
    /// (`AnyEvent::Fork::RPC::run`.)
    pub fn rpc<F, A: 'static, R: 'static, E: 'static>(
        self,
        worker: Worker<F, A, R, E>,
    ) -> RpcBuilder<A, R, E> {
        RpcBuilder { process: self, terms: Terms::of(&worker), on_event: None, set: Set::default() }
    }
}

impl<A: 'static, R: Send + 'static, E: 'static> RpcBuilder<A, R, E> {
    /// Called for each event of the worker, in the order in which it makes events and
    /// replies. By the thread that waits for a call, or by this library's background
    /// thread: it should return soon. It may make calls, but cannot wait for them.
    pub fn on_event(mut self, on_event: impl FnMut(E) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(on_event));
        self
    }

    /// Called with what concerns no call, or all of them: the worker could not be
    /// initialised, or has ended before its time, or does not keep to the protocol (each
    /// of these at most once, and nothing comes after it); an event cannot be read, or
    /// there is no `on_event` for it.
    pub fn on_error(mut self, on_error: impl FnMut(Error) + Send + 'static) -> Self {
        self.set.error = Some(Box::new(on_error));
        self
    }

    /// Called when the `Rpc` has been dropped, all calls have been done, and the process
    /// has ended. See also [`Rpc::finish`].
    pub fn on_destroy(mut self, on_destroy: impl FnOnce() + Send + 'static) -> Self {
        self.set.destroy = Some(Box::new(on_destroy));
        self
    }

    /// Arguments for the worker's init function: exactly of the type that it has.
    pub fn init<I: Serialize + 'static>(mut self, given: I) -> Self {
        self.terms.init(&given);
        self
    }

    /// Calls that may be open (made, but not answered) at a time; 1,024 unless said
    /// otherwise. At least one.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.terms.limits.max_open = calls.clamp(1, 1 << 30);
        self
    }

    /// A call that takes longer, from when it is made, fails with
    /// [`is_timeout`](Error::is_timeout), and is ended as by [`Call::cancel`](super::Call::cancel).
    /// One that was answered in time has not failed, although a callback may have kept
    /// everybody from reading that for a while.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.limits.timeout = Some(timeout);
        self
    }

    /// Another codec than the worker's own, which has to be Postcard (the default): any
    /// that goes by serde's traits.
    pub fn codec<C: 'static>(mut self, _: C) -> Self {
        self.terms.codec = Some(TypeId::of::<C>());
        self
    }

    /// The largest result or event, in bytes of the codec; 4 GiB - 1 unless said otherwise.
    /// What is larger is thrown away in the worker, and its call fails with
    /// [`is_codec`](Error::is_codec).
    pub fn max_reply(mut self, bytes: u32) -> Self {
        self.terms.limits.max_reply = bytes;
        self
    }

    /// How many calls an asynchronous worker runs at once; any number unless said
    /// otherwise. The others wait in the process. At least one.
    pub fn max_concurrent(mut self, calls: u32) -> Self {
        self.terms.max_concurrent = calls.max(1);
        self
    }

    /// Whether the worker goes on after a panic. It ends with status 101 otherwise, since
    /// the panic may have left its state half changed.
    pub fn keep_after_panic(mut self, keep: bool) -> Self {
        self.terms.limits.keep_after_panic = keep;
        self
    }

    /// Whether both sides look for an answer for a moment (about 20 us) before they sleep,
    /// while answers come as fast as that, and there is more than one CPU. They do, unless
    /// said otherwise: it makes short calls several times as fast, for some CPU time. One
    /// who has nothing to expect sleeps in any case.
    pub fn spin(mut self, spin: bool) -> Self {
        self.terms.limits.spin = spin;
        self
    }

    /// Whether the worker's `tracing` spans and events go to this program's subscriber:
    /// the one that is current where [`start`](RpcBuilder::start) is called. Without one,
    /// nothing is sent.
    ///
    /// They happen here in the order in which they happened there, events and replies of
    /// calls included, by the thread that takes those in. Level, target, name, file, line,
    /// and all fields are those of the worker, so filters apply. There are two more fields:
    /// `worker.pid`, as the worker gives it, and `worker.entry`, the name of its function;
    /// they are those of the innermost worker, if a worker forwards another's. Spans
    /// (of which 16,384 may be open at a time) are created within their parents, given
    /// values, and closed as they are there. They are entered while something happens in
    /// them, and once for each time that they are entered there; for how long is not told.
    /// What is still open when the process ends is closed. A panic, of any thread of the
    /// worker, is an event of level `ERROR` in the module of the worker's name, with its
    /// message and its `location`.
    ///
    /// The worker sends what the most verbose filter here lets through when it is started;
    /// the rest costs it nothing. Text is cut to 512 KiB for each event. Each callsite is
    /// known for ever in this process, as callsites are; from the 10,000th on, which
    /// only a lying worker has, they are thrown together.
    ///
    /// In the worker, a global subscriber is set before the init function runs. If one was
    /// set already, by a setup function for instance, that one stays; all that comes here
    /// is a warning that says so, and panics. Events that the writing of an event's values
    /// makes are dropped, as are those of processes that the worker forks by itself.
    ///
    /// (`AnyEvent::Fork::RPC`, example 4 of its later versions.)
    pub fn forward_logs(mut self, forward: bool) -> Self {
        self.terms.forward_logs = forward;
        self
    }

    /// Starts the worker. Does not wait for it.
    ///
    /// # Errors
    /// As [`Process::run`]; [`is_init`](Error::is_init) if the init arguments are not of
    /// the type that the worker's init function has; [`is_codec`](Error::is_codec) if they
    /// are more than 4 GiB - 65 bytes; [`is_unsupported`](Error::is_unsupported) if it does not know the codec.
    pub fn start(mut self) -> Result<Rpc<A, R, E>, Error> {
        let plan = self.terms.plan()?;
        if let Some(on_event) = self.on_event.take() {
            self.set.event = Some(plan.speech.event(on_event));
        }
        let conn = plan.launcher.launch(self.process, self.set, None)?;
        Ok(Rpc::new(conn, plan.speech))
    }
}

impl<A, R, E> fmt::Debug for RpcBuilder<A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcBuilder").field("worker", &self.terms.name).finish_non_exhaustive()
    }
}
