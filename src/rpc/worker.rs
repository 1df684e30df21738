//! What `#[worker]` makes of a function, and what the code that it emits is made of.

use std::any::TypeId;
use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{Body, Codec, CodecError, Postcard, Sink};
use super::context::Context;
use super::done::Done;
use crate::start::RunArgs;

mod init;

pub(super) use init::Given;
pub use init::{Initial, initial, nothing};

/// A function that can be called in another process: what [`#[worker]`](macro@crate::worker)
/// makes of a function.
///
/// Give it to [`Process::rpc`](crate::Process::rpc) or [`spawn`](crate::spawn). It still
/// can be called directly, in this process, like the function that it was.
///
/// `F` is the function's type, `A` its arguments (a tuple if there are several, `()` if
/// there is none), `R` its result, `E` the type of its events.
pub struct Worker<F: 'static, A: 'static, R: 'static, E: 'static = ()> {
    pub(super) name: &'static str,
    function: F,
    pub(super) style: Style,
    pub(super) speeches: &'static [Speech<A, R, E>],
    pub(super) given: fn() -> Given,
}

/// How a worker runs its calls.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One after the other, in order.
    Sync,
    /// At once, answered in any order.
    Async,
}

impl<F, A, R, E> Worker<F, A, R, E> {
    #[doc(hidden)]
    pub const fn __new(
        name: &'static str,
        function: F,
        style: Style,
        speeches: &'static [Speech<A, R, E>],
        given: fn() -> Given,
    ) -> Self {
        Worker { name, function, style, speeches, given }
    }

    /// The name under which it is registered.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<F: Copy, A, R, E> Clone for Worker<F, A, R, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Copy, A, R, E> Copy for Worker<F, A, R, E> {}

impl<F, A, R, E> Deref for Worker<F, A, R, E> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.function
    }
}

impl<F, A, R, E> fmt::Debug for Worker<F, A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.name).finish()
    }
}

impl<F, A, R, E> From<Worker<F, A, R, E>> for &'static str {
    fn from(worker: Worker<F, A, R, E>) -> &'static str {
        worker.name
    }
}

type Encode<T> = fn(&T, &mut Sink) -> Result<(), CodecError>;
type Decode<T> = fn(&Body<'_>) -> Result<T, CodecError>;

/// A codec, as one worker uses it.
#[doc(hidden)]
pub struct Speech<A, R, E> {
    pub(crate) codec: fn() -> TypeId,
    pub(crate) encode_args: Encode<A>,
    pub(crate) decode_args: Decode<A>,
    pub(crate) encode_reply: Encode<R>,
    pub(crate) decode_reply: Decode<R>,
    pub(crate) encode_event: Encode<E>,
    pub(crate) decode_event: Decode<E>,
}

impl<A, R, E> Speech<A, R, E> {
    /// With codec `C`.
    pub const fn of<C: Codec<A> + Codec<R> + Codec<E>>() -> Self {
        Speech {
            codec: TypeId::of::<C>,
            encode_args: <C as Codec<A>>::encode,
            decode_args: <C as Codec<A>>::decode,
            encode_reply: <C as Codec<R>>::encode,
            decode_reply: <C as Codec<R>>::decode,
            encode_event: <C as Codec<E>>::encode,
            decode_event: <C as Codec<E>>::decode,
        }
    }
}

/// The codecs of a worker that names none: Postcard, and at the parent's wish any other
/// that goes by serde's traits.
#[doc(hidden)]
pub const fn speeches<A, R, E>() -> &'static [Speech<A, R, E>]
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
    E: Serialize + DeserializeOwned + 'static,
{
    const {
        &[
            Speech::of::<Postcard>(),
            #[cfg(feature = "json")]
            Speech::of::<super::codec::Json>(),
            #[cfg(feature = "messagepack")]
            Speech::of::<super::codec::MessagePack>(),
        ]
    }
}

/// A worker function with its types; the macro implements it.
#[doc(hidden)]
pub trait Called: 'static {
    type Args: 'static;
    type Reply: 'static;
    type Event: 'static;
    type State: 'static;

    /// What makes the state.
    fn initial() -> Initial<Self::State, Self::Event>;

    /// What that takes.
    fn given() -> Given {
        Self::initial().given
    }

    fn init(
        queued: RunArgs,
        given: &[u8],
        cx: &Context<Self::Event>,
    ) -> Result<Self::State, String> {
        (Self::initial().init)(queued, given, cx)
    }

    /// Runs when everything is done, before the process ends.
    fn done() {}
}

/// One that returns its result.
#[doc(hidden)]
pub trait CalledSync: Called {
    fn call(state: &mut Self::State, cx: &Context<Self::Event>, args: Self::Args) -> Self::Reply;
}

/// One that is given where its result goes.
#[doc(hidden)]
pub trait CalledDone: Called {
    fn call(
        state: &mut Self::State,
        cx: &Context<Self::Event>,
        done: Done<Self::Reply>,
        args: Self::Args,
    );
}

/// One whose result is awaited.
#[cfg(feature = "tokio")]
#[doc(hidden)]
pub trait CalledAsync: Called {
    fn call(
        state: std::rc::Rc<Self::State>,
        cx: Context<Self::Event>,
        args: Self::Args,
    ) -> impl Future<Output = Self::Reply> + 'static;
}
