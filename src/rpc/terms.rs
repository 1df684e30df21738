//! On what terms a worker is started.

use std::any::{TypeId, type_name};
use std::sync::Arc;

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::codec::decode_unharmed;
use super::conn::{Conn, Limits};
use super::fd;
use super::frame::{Frame, Hello, Kind, MAX_BODY};
use super::handlers::{Handlers, OnEvent, Overseer, Set};
use super::logs::Logs;
use super::worker::{Given, Speech, Style, Worker};
use crate::error::{Error, Fault, Kind as ErrorKind};
use crate::process::Process;

/// Calls that may be open, unless it is said otherwise.
const MAX_IN_FLIGHT: usize = 1024;
/// Bytes of calls that may wait to be sent before more calls have to wait.
const QUEUED_AT_MOST: usize = 1 << 20;

/// Bytes of init arguments, so that they fit into one frame with what else is in a `Hello`.
const MAX_GIVEN: u32 = MAX_BODY - 64;

/// What a worker is, and what was asked for; nothing is checked yet.
pub(crate) struct Terms<A: 'static, R: 'static, E: 'static> {
    pub(crate) name: &'static str,
    style: Style,
    speeches: &'static [Speech<A, R, E>],
    wanted: Given,
    given: Option<Init>,
    pub(crate) codec: Option<TypeId>,
    pub(crate) limits: Limits,
    pub(crate) max_concurrent: u32,
    pub(crate) forward_logs: bool,
}

/// Init arguments, and of what type they were.
struct Init {
    id: TypeId,
    name: &'static str,
    bytes: Result<Vec<u8>, Fault>,
}

impl Init {
    fn new<I: Serialize + 'static>(given: &I) -> Init {
        let bytes = match postcard::serialize_with_flavor(given, Measured::default()) {
            Ok(Measured { bytes, size }) if size <= u64::from(MAX_GIVEN) => Ok(bytes),
            Ok(Measured { size, .. }) => {
                Err(Fault::TooLarge { what: "the init arguments", size, max: MAX_GIVEN })
            }
            Err(why) => Err(Fault::Init(why.to_string().into())),
        };
        Init { id: TypeId::of::<I>(), name: type_name::<I>(), bytes }
    }
}

/// What was encoded: its size, and its bytes if they are not too many to be sent.
#[derive(Default)]
struct Measured {
    bytes: Vec<u8>,
    size: u64,
}

impl Flavor for Measured {
    type Output = Measured;

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.size += data.len() as u64;
        match self.size <= u64::from(MAX_GIVEN) {
            true => self.bytes.extend_from_slice(data),
            false => self.bytes = Vec::new(),
        }
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn finalize(self) -> postcard::Result<Measured> {
        Ok(self)
    }
}

/// Checked terms: from these any number of workers can be started.
pub(crate) struct Plan<A: 'static, R: 'static, E: 'static> {
    pub(crate) speech: &'static Speech<A, R, E>,
    pub(crate) launcher: Launcher,
}

/// The same, whatever the types.
pub(crate) struct Launcher {
    pub(crate) name: &'static str,
    pub(crate) style: Style,
    limits: Limits,
    max_concurrent: u32,
    forward_logs: bool,
    codec: u8,
    given: Vec<u8>,
}

impl<A: 'static, R: 'static, E: 'static> Terms<A, R, E> {
    pub(crate) fn of<F>(worker: &Worker<F, A, R, E>) -> Terms<A, R, E> {
        Terms {
            name: worker.name,
            style: worker.style,
            speeches: worker.speeches,
            wanted: (worker.given)(),
            given: None,
            codec: None,
            limits: Limits {
                max_open: MAX_IN_FLIGHT,
                max_queued: QUEUED_AT_MOST,
                timeout: None,
                max_reply: MAX_BODY,
                spin: true,
                keep_after_panic: false,
            },
            max_concurrent: u32::MAX,
            forward_logs: false,
        }
    }

    pub(crate) fn init<I: Serialize + 'static>(&mut self, given: &I) {
        self.given = Some(Init::new(given));
    }

    pub(crate) fn plan(self) -> Result<Plan<A, R, E>, Error> {
        let given = self.given()?;
        let codec = self.codec_index()?;
        let launcher = Launcher {
            name: self.name,
            style: self.style,
            limits: self.limits,
            max_concurrent: self.max_concurrent,
            forward_logs: self.forward_logs,
            codec: codec as u8,
            given,
        };
        Ok(Plan { speech: &self.speeches[codec], launcher })
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
            Some(given) => given.bytes.clone().map_err(Into::into),
        }
    }

    fn codec_index(&self) -> Result<usize, Error> {
        let Some(id) = self.codec else { return Ok(0) };
        let found = self.speeches.iter().position(|s| (s.codec)() == id);
        found.ok_or(ErrorKind::Unsupported("the worker does not know this codec: name it in its attribute, `#[worker(codec = …)]`").into())
    }
}

impl<A, R, E: 'static> Speech<A, R, E> {
    /// Events as they come, for a callback.
    pub(crate) fn event(&self, mut on_event: impl FnMut(E) + Send + 'static) -> OnEvent {
        let decode = self.decode_event;
        Box::new(move |body, fds| {
            on_event(fd::provide(fds, || decode_unharmed(decode, body))?);
            Ok(())
        })
    }
}

impl Launcher {
    /// Starts a worker. One that is overseen is told what it is by its first call, or
    /// [`Conn::begin`].
    pub(crate) fn launch(
        &self,
        process: Process,
        set: Set,
        overseer: Option<Box<dyn Overseer>>,
    ) -> Result<Arc<Conn>, Error> {
        let logs = if self.forward_logs { Logs::to_current(self.name) } else { None };
        let pooled = overseer.is_some();
        let hello = Hello {
            codec: self.codec,
            keep_after_panic: self.limits.keep_after_panic,
            forward_logs: logs.as_ref().map(Logs::most),
            max_concurrent: self.max_concurrent,
            max_reply: self.limits.max_reply,
            spin: self.limits.spin,
            pooled,
            given: self.given.clone(),
        };
        let hello = Frame::plain(Kind::Hello, 0, &hello);
        let child = process.launch(self.name)?;
        let handlers = Handlers::new(set, logs, overseer);
        Conn::new(child, self.style, self.limits.clone(), handlers, hello, pooled)
    }
}
