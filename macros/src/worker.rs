//! `#[worker]`: a function becomes a handle, an element of the registry, and the code
//! that serves it.

mod emit;

use proc_macro2::{Span, TokenStream};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, GenericArgument, ItemFn, PatType, PathArguments, Result, ReturnType, Type,
    TypePath, parse_quote,
};

use self::emit::emit;
use crate::function::refuse_strange;
use crate::options::WorkerOptions;

const WHAT: &str = "#[offshoot::worker]";

/// How calls are run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Sync,
    Done,
    Async,
}

/// A parameter by its role.
enum Role {
    /// `&Context<E>`, or by value where calls outlive the function's start.
    Context,
    /// `&mut S`; `Rc<S>` of an `async fn`.
    State,
    /// `Done<R>`.
    Done,
    /// What the caller gives.
    Argument,
}

struct Worker {
    function: ItemFn,
    style: Style,
    roles: Vec<Role>,
    arguments: Vec<Type>,
    state: Option<Type>,
    event: Type,
    reply: Type,
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let parsed =
        WorkerOptions::parse(options).and_then(|options| Ok((parse(&options, item)?, options)));
    match parsed {
        Ok((worker, options)) => emit(worker, &options),
        Err(error) => error.to_compile_error(),
    }
}

fn parse(options: &WorkerOptions, item: TokenStream) -> Result<Worker> {
    let function: ItemFn = syn::parse2(item)
        .map_err(|e| Error::new(e.span(), format!("{WHAT} goes on a function with a body")))?;
    refuse_strange(WHAT, &function.sig)?;
    let is_async = function.sig.asyncness.is_some();
    if is_async {
        needs_runtime(function.sig.asyncness.span(), cfg!(feature = "tokio"))?;
    }
    let mut worker = Worker {
        style: if is_async { Style::Async } else { Style::Sync },
        roles: Vec::new(),
        arguments: Vec::new(),
        state: None,
        event: parse_quote!(()),
        reply: match &function.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => refuse_output(ty)?,
        },
        function,
    };
    let inputs: Vec<PatType> = worker.function.sig.inputs.iter().filter_map(typed).collect();
    for input in &inputs {
        worker.take(options, is_async, input)?;
    }
    if let (Some(path), None) = (&options.init, &worker.state) {
        let form = if is_async { "`state: Rc<T>`" } else { "`state: &mut T`" };
        let why = format!("what `init` returns is for the function: give it a parameter {form}");
        return Err(Error::new(path.span(), why));
    }
    Ok(worker)
}

fn needs_runtime(span: Span, enabled: bool) -> Result<()> {
    if enabled {
        return Ok(());
    }
    Err(Error::new(span, "an `async fn` is run by tokio: enable the feature `tokio` of offshoot"))
}

fn typed(input: &FnArg) -> Option<PatType> {
    match input {
        FnArg::Typed(input) => Some(input.clone()),
        FnArg::Receiver(_) => None,
    }
}

fn refuse_output(ty: &Type) -> Result<Type> {
    match ty {
        Type::ImplTrait(_) => Err(Error::new(
            ty.span(),
            format!("{WHAT} has to name the type of its result: the caller reads it back"),
        )),
        Type::Never(_) => {
            Err(Error::new(ty.span(), format!("{WHAT} returns: the caller waits for its result")))
        }
        Type::Reference(_) => Err(Error::new(
            ty.span(),
            format!("{WHAT} returns a value: the caller has nobody to borrow it from"),
        )),
        ty => refuse_unsaid(ty).map(|()| ty.clone()),
    }
}

/// What stands for a type that can be said.
fn refuse_unsaid(ty: &Type) -> Result<()> {
    match ty {
        Type::ImplTrait(_) => Err(Error::new(
            ty.span(),
            format!(
                "{WHAT} cannot be generic: the other process knows the function by its name alone"
            ),
        )),
        Type::Infer(_) => Err(Error::new(ty.span(), format!("{WHAT} has to name this type"))),
        _ => Ok(()),
    }
}

impl Worker {
    fn take(&mut self, options: &WorkerOptions, is_async: bool, input: &PatType) -> Result<()> {
        let ty = &*input.ty;
        let refuse = |why: &str| Err(Error::new(ty.span(), why));
        let (inner, changes) = match ty {
            Type::Reference(reference) => (&*reference.elem, reference.mutability.is_some()),
            ty => (ty, false),
        };
        let by_value = !matches!(ty, Type::Reference(_));
        if let Some(event) = parameter_of(inner, "Context") {
            if is_async && !by_value {
                return refuse(
                    "an `async fn` goes on after it was called: take the `Context` by value",
                );
            }
            if !is_async && (by_value || changes) {
                return refuse("take the `Context` by shared reference, as `&Context<…>`");
            }
            self.event = event.unwrap_or_else(|| parse_quote!(()));
            return self.special(ty, Role::Context, "there is one `Context`");
        }
        if let Some(reply) = parameter_of(inner, "Done") {
            if is_async {
                return refuse("an `async fn` returns its result: it has no use for a `Done`");
            }
            if !by_value {
                return refuse("take `Done` by value: whoever completes the call has it");
            }
            if !matches!(self.function.sig.output, ReturnType::Default) {
                return Err(Error::new(
                    self.function.sig.output.span(),
                    "the result goes to `Done`, so the function returns nothing",
                ));
            }
            self.style = Style::Done;
            self.reply = reply.unwrap_or_else(|| parse_quote!(()));
            return self.special(ty, Role::Done, "there is one `Done`");
        }
        if let Some(state) = self.state_of(options, is_async, ty)? {
            self.state = Some(state);
            return self.special(ty, Role::State, "there is one state");
        }
        if !by_value {
            return refuse(&format!(
                "{WHAT} owns what it gets, because there is nobody to borrow it from: take it by value"
            ));
        }
        refuse_unsaid(ty)?;
        self.arguments.push(ty.clone());
        self.roles.push(Role::Argument);
        Ok(())
    }

    /// If a parameter is the state: its type.
    fn state_of(&self, options: &WorkerOptions, is_async: bool, ty: &Type) -> Result<Option<Type>> {
        let changed = match ty {
            Type::Reference(r) if r.mutability.is_some() => Some((*r.elem).clone()),
            _ => None,
        };
        let why = match (&changed, &options.init) {
            (Some(_), None) => {
                "a worker's state comes from its init function: name it, `#[worker(init = …)]`"
            }
            (Some(_), Some(_)) if is_async => {
                "calls of an `async fn` share their state: take it as `Rc<T>`"
            }
            (None, Some(_)) if is_async && self.state.is_none() => {
                return Ok(parameter_of(ty, "Rc").flatten());
            }
            _ => return Ok(changed),
        };
        Err(Error::new(ty.span(), why))
    }

    fn special(&mut self, ty: &Type, role: Role, one: &str) -> Result<()> {
        let same = std::mem::discriminant(&role);
        if self.roles.iter().any(|r| std::mem::discriminant(r) == same) {
            return Err(Error::new(ty.span(), one));
        }
        self.roles.push(role);
        Ok(())
    }
}

/// If `ty` is `Name<T>`, by its last segment: `T`, if there is one.
#[allow(clippy::option_option)]
fn parameter_of(ty: &Type, name: &str) -> Option<Option<Type>> {
    let Type::Path(TypePath { qself: None, path, .. }) = ty else { return None };
    let last = path.segments.last().filter(|s| s.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Some(None) };
    Some(arguments.args.iter().find_map(|a| match a {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_async_fn_needs_the_feature() {
        // Tests of the whole workspace are built with it.
        let span = Span::call_site();
        let error = needs_runtime(span, false).unwrap_err().to_compile_error().to_string();
        assert!(error.contains("compile_error") && error.contains("feature `tokio`"), "{error}");
        assert!(needs_runtime(span, true).is_ok());
        let expanded = expand(
            TokenStream::new(),
            quote::quote!(
                async fn work() {}
            ),
        )
        .to_string();
        let refused = expanded.contains("compile_error");
        assert_eq!(refused, !cfg!(feature = "tokio"), "{expanded}");
    }
}
