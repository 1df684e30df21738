//! What an `Rpc` is started with.

use std::any::{TypeId, type_name};
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::codec::decode_unharmed;
use super::conn::{Conn, Limits};
use super::fd;
use super::frame::{Frame, Hello, Kind, MAX_BODY};
use super::handle::Rpc;
use super::handlers::{Handlers, Set};
use super::logs::Logs;
use super::worker::{Given, Speech, Style, Worker};
use crate::error::{Error, Fault, Kind as ErrorKind};
use crate::process::Process;

/// Calls that may be open, unless it is said otherwise.
const MAX_IN_FLIGHT: usize = 1024;

/// A worker that is about to be started; see [`Process::rpc`].
#[must_use = "nothing is started before `start`"]
pub struct RpcBuilder<A: 'static, R: 'static, E: 'static = ()> {
    process: Process,
    name: &'static str,
    style: Style,
    speeches: &'static [Speech<A, R, E>],
    wanted: Given,
    given: Option<Init>,
    codec: Option<TypeId>,
    limits: Limits,
    max_concurrent: u32,
    forward_logs: bool,
    on_event: Option<Box<dyn FnMut(E) + Send>>,
    set: Set,
}

/// Init arguments, and of what type they were.
struct Init {
    id: TypeId,
    name: &'static str,
    bytes: Result<Vec<u8>, String>,
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
        RpcBuilder {
            process: self,
            name: worker.name,
            style: worker.style,
            speeches: worker.speeches,
            wanted: (worker.given)(),
            given: None,
            codec: None,
            limits: Limits {
                max_open: MAX_IN_FLIGHT,
                timeout: None,
                max_reply: MAX_BODY,
                spin: true,
                keep_after_panic: false,
            },
            max_concurrent: u32::MAX,
            forward_logs: false,
            on_event: None,
            set: Set::default(),
        }
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
        let bytes = postcard::to_stdvec(&given).map_err(|e| e.to_string());
        self.given = Some(Init { id: TypeId::of::<I>(), name: type_name::<I>(), bytes });
        self
    }

    /// Calls that may be open (made, but not answered) at a time; 1,024 unless said
    /// otherwise. At least one.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.limits.max_open = calls.clamp(1, 1 << 30);
        self
    }

    /// A call that takes longer, from when it is made, fails with
    /// [`is_timeout`](Error::is_timeout), and is ended as by [`Call::cancel`](super::Call::cancel).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = Some(timeout);
        self
    }

    /// Another codec than the worker's own, which has to be Postcard (the default): any
    /// that goes by serde's traits.
    pub fn codec<C: 'static>(mut self, _: C) -> Self {
        self.codec = Some(TypeId::of::<C>());
        self
    }

    /// The largest result or event, in bytes of the codec; 4 GiB - 1 unless said otherwise.
    /// What is larger is thrown away in the worker, and its call fails with
    /// [`is_codec`](Error::is_codec).
    pub fn max_reply(mut self, bytes: u32) -> Self {
        self.limits.max_reply = bytes;
        self
    }

    /// How many calls an asynchronous worker runs at once; any number unless said
    /// otherwise. The others wait in the process. At least one.
    pub fn max_concurrent(mut self, calls: u32) -> Self {
        self.max_concurrent = calls.max(1);
        self
    }

    /// Whether the worker goes on after a panic. It ends with status 101 otherwise, since
    /// the panic may have left its state half changed.
    pub fn keep_after_panic(mut self, keep: bool) -> Self {
        self.limits.keep_after_panic = keep;
        self
    }

    /// Whether both sides look for an answer for a moment (about 20 us) before they sleep,
    /// while answers come as fast as that, and there is more than one CPU. They do, unless
    /// said otherwise: it makes short calls several times as fast, for some CPU time. One
    /// who has nothing to expect sleeps in any case.
    pub fn spin(mut self, spin: bool) -> Self {
        self.limits.spin = spin;
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
        self.forward_logs = forward;
        self
    }

    /// Starts the worker. Does not wait for it.
    ///
    /// # Errors
    /// As [`Process::run`]; [`is_init`](Error::is_init) if the init arguments are not of
    /// the type that the worker's init function has;
    /// [`is_unsupported`](Error::is_unsupported) if it does not know the codec.
    pub fn start(mut self) -> Result<Rpc<A, R, E>, Error> {
        let given = self.given()?;
        let codec = self.codec_index()?;
        let speech = &self.speeches[codec];
        if let Some(mut on_event) = self.on_event.take() {
            let decode = speech.decode_event;
            self.set.event = Some(Box::new(move |body, fds| {
                on_event(fd::provide(fds, || decode_unharmed(decode, body))?);
                Ok(())
            }));
        }
        let logs = if self.forward_logs { Logs::to_current(self.name) } else { None };
        let hello = Hello {
            codec: codec as u8,
            keep_after_panic: self.limits.keep_after_panic,
            forward_logs: logs.as_ref().map(Logs::most),
            max_concurrent: self.max_concurrent,
            max_reply: self.limits.max_reply,
            spin: self.limits.spin,
            given,
        };
        let hello = Frame::plain(Kind::Hello, 0, &hello);
        let child = self.process.launch(self.name)?;
        let conn = Conn::new(child, self.style, self.limits, Handlers::new(self.set, logs), hello)?;
        Ok(Rpc::new(conn, speech))
    }

    fn given(&self) -> Result<Vec<u8>, Error> {
        let (worker, wanted) = (self.name, self.wanted);
        let refuse = |why: String| Err(Fault::Init(why.into()).into());
        match &self.given {
            None if wanted.id == TypeId::of::<()>() => Ok(Vec::new()),
            None => refuse(format!("`{worker}` takes a {}: give it by `init`", wanted.name)),
            Some(given) if given.id != wanted.id => {
                refuse(format!("`{worker}` takes a {}, and not a {}", wanted.name, given.name))
            }
            Some(given) => given.bytes.clone().or_else(refuse),
        }
    }

    fn codec_index(&self) -> Result<usize, Error> {
        let Some(id) = self.codec else { return Ok(0) };
        let found = self.speeches.iter().position(|s| (s.codec)() == id);
        found.ok_or(ErrorKind::Unsupported("the worker does not know this codec: name it in its attribute, `#[worker(codec = …)]`").into())
    }
}

impl<A, R, E> fmt::Debug for RpcBuilder<A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcBuilder").field("worker", &self.name).finish_non_exhaustive()
    }
}
