//! Init functions: their shapes, and what they are given.

use std::any::{TypeId, type_name};
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::context::Context;
use crate::start::RunArgs;

/// The type of the init arguments that a worker wants.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub(in super::super) id: TypeId,
    pub(in super::super) name: &'static str,
}

impl Given {
    fn of<I: 'static>() -> Given {
        Given { id: TypeId::of::<I>(), name: type_name::<I>() }
    }
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
    pub(in super::super) given: Given,
    pub(in super::super) init: Box<Init<S, E>>,
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
