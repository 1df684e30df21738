//! What `#[worker]` makes of a function, and what the code that it emits is made of.

use std::any::{TypeId, type_name};
use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{Body, Codec, CodecError, Postcard, Sink};
use super::context::Context;
use super::done::Done;
use crate::start::RunArgs;

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

/// The type of the init arguments that a worker wants.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub(super) id: TypeId,
    pub(super) name: &'static str,
}

impl Given {
    fn of<I: 'static>() -> Given {
        Given { id: TypeId::of::<I>(), name: type_name::<I>() }
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

/// What an init function may return: the state, or a result with an error that can be
/// shown.
#[doc(hidden)]
pub trait IntoState<S> {
    fn into_state(self) -> Result<S, String>;
}

impl<S> IntoState<S> for S {
    fn into_state(self) -> Result<S, String> {
        Ok(self)
    }
}

impl<S, E: fmt::Display> IntoState<S> for Result<S, E> {
    fn into_state(self) -> Result<S, String> {
        self.map_err(|e| e.to_string())
    }
}

/// The shapes that an init function may have. `M` only tells them apart.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the init function of a worker with state `{S}` and events `{E}`",
    label = "not of a shape that an init function has",
    note = "it is one of `fn()`, `fn(RunArgs)`, `fn(RunArgs, I)`, `fn(RunArgs, I, &Context<{E}>)`, and returns `{S}` or a `Result` of it with an error that can be shown",
    note = "`I` is given by `RpcBuilder::init`, and has serde's `Serialize` and `Deserialize`"
)]
pub trait InitFn<S, E, M> {
    type Given: Serialize + DeserializeOwned + 'static;
    fn init(self, queued: RunArgs, given: Self::Given, cx: &Context<E>) -> Result<S, String>;
}

impl<S, E, F: FnOnce() -> O, O: IntoState<S>> InitFn<S, E, ((), O)> for F {
    type Given = ();

    fn init(self, _: RunArgs, (): (), _: &Context<E>) -> Result<S, String> {
        self().into_state()
    }
}

impl<S, E, F: FnOnce(RunArgs) -> O, O: IntoState<S>> InitFn<S, E, (RunArgs, O)> for F {
    type Given = ();

    fn init(self, queued: RunArgs, (): (), _: &Context<E>) -> Result<S, String> {
        self(queued).into_state()
    }
}

impl<S, E, I, F, O> InitFn<S, E, (RunArgs, I, O)> for F
where
    I: Serialize + DeserializeOwned + 'static,
    F: FnOnce(RunArgs, I) -> O,
    O: IntoState<S>,
{
    type Given = I;

    fn init(self, queued: RunArgs, given: I, _: &Context<E>) -> Result<S, String> {
        self(queued, given).into_state()
    }
}

impl<S, E, I, F, O> InitFn<S, E, (RunArgs, I, Context<E>, O)> for F
where
    I: Serialize + DeserializeOwned + 'static,
    F: FnOnce(RunArgs, I, &Context<E>) -> O,
    O: IntoState<S>,
{
    type Given = I;

    fn init(self, queued: RunArgs, given: I, cx: &Context<E>) -> Result<S, String> {
        self(queued, given, cx).into_state()
    }
}

type Init<S, E> = dyn FnOnce(RunArgs, &[u8], &Context<E>) -> Result<S, String>;

/// An init function, and what it takes.
#[doc(hidden)]
pub struct Initial<S, E> {
    pub(super) given: Given,
    pub(super) init: Box<Init<S, E>>,
}

impl<S, E> fmt::Debug for Initial<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initial").field("given", &self.given).finish_non_exhaustive()
    }
}

/// For [`Called::initial`].
#[doc(hidden)]
pub fn initial<S, E, M, F: InitFn<S, E, M> + 'static>(function: F) -> Initial<S, E> {
    let init = move |queued: RunArgs, given: &[u8], cx: &Context<E>| {
        let given = postcard::from_bytes(given).map_err(|e| format!("its arguments: {e}"))?;
        function.init(queued, given, cx)
    };
    Initial { given: Given::of::<F::Given>(), init: Box::new(init) }
}

/// For [`Called::initial`], without an init function.
#[doc(hidden)]
pub fn nothing<E>() -> Initial<(), E> {
    Initial { given: Given::of::<()>(), init: Box::new(|_, _, _| Ok(())) }
}
