//! `#[entry]` and `#[setup]`: a function becomes a handle and an element of the
//! registry.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, Ident, ItemFn, LitStr, Result, ReturnType, Signature, Type};

use crate::options::Options;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noun {
    Entry,
    Setup,
}

impl Noun {
    fn attribute(self) -> &'static str {
        match self {
            Noun::Entry => "#[offshoot::entry]",
            Noun::Setup => "#[offshoot::setup]",
        }
    }

    fn argument(self) -> &'static str {
        match self {
            Noun::Entry => "offshoot::Start",
            Noun::Setup => "offshoot::Args",
        }
    }
}

pub(crate) fn expand(noun: Noun, options: TokenStream, item: TokenStream) -> TokenStream {
    let parsed =
        Options::parse(options, true).and_then(|options| Ok((options, parse(noun, item.clone())?)));
    match parsed {
        Ok((options, function)) => emit(noun, &options, function),
        Err(error) => error.to_compile_error(),
    }
}

fn parse(noun: Noun, item: TokenStream) -> Result<ItemFn> {
    let what = noun.attribute();
    let function: ItemFn = syn::parse2(item)
        .map_err(|e| Error::new(e.span(), format!("{what} goes on a function with a body")))?;
    let s = &function.sig;
    let refuse = |span: proc_macro2::Span, why: &str| Err(Error::new(span, why));
    refuse_strange(what, s)?;
    if let Some(asyncness) = &s.asyncness {
        return refuse(
            asyncness.span(),
            &format!("{what} cannot be async: start a runtime inside of it"),
        );
    }
    match s.inputs.iter().collect::<Vec<_>>()[..] {
        [FnArg::Typed(argument)] => {
            if let Type::Reference(reference) = &*argument.ty {
                return refuse(
                    reference.span(),
                    &format!(
                        "{what} owns what it gets, because there is nobody to borrow it from: take {} by value",
                        noun.argument()
                    ),
                );
            }
        }
        _ => {
            let span = if s.inputs.is_empty() { s.ident.span() } else { s.inputs.span() };
            return refuse(span, &format!("{what} has one parameter, of type {}", noun.argument()));
        }
    }
    Ok(function)
}

/// Refuses what no registered function can be.
pub(crate) fn refuse_strange(what: &str, s: &Signature) -> Result<()> {
    let refuse = |span: proc_macro2::Span, why: &str| Err(Error::new(span, why));
    if let Some(receiver) = s.receiver() {
        return refuse(
            receiver.span(),
            &format!(
                "{what} goes on a free function, not on a method: in the other process there is no value to call it on"
            ),
        );
    }
    if !s.generics.params.is_empty() {
        return refuse(
            s.generics.span(),
            &format!(
                "{what} cannot be generic: the other process knows the function by its name alone"
            ),
        );
    }
    if let syn::Safety::Unsafe(unsafety) = &s.safety {
        return refuse(
            unsafety.span(),
            &format!("{what} cannot be unsafe: nobody could promise anything from another process"),
        );
    }
    if let Some(abi) = &s.abi {
        return refuse(abi.span(), &format!("{what} has to be a Rust function"));
    }
    Ok(())
}

/// Module path and name, or the name that was given.
pub(crate) fn name_of(given: Option<&LitStr>, ident: &Ident) -> TokenStream {
    match given {
        Some(name) => quote!(#name),
        None => {
            let ident = ident.to_string();
            let ident = ident.trim_start_matches("r#");
            quote!(::core::concat!(::core::module_path!(), "::", #ident))
        }
    }
}

/// A function's attributes: those that speak of what is seen from outside are taken
/// from it, those for its body stay.
pub(crate) struct Attributes {
    pub(crate) outer: Vec<Attribute>,
    pub(crate) cfgs: Vec<Attribute>,
}

impl Attributes {
    pub(crate) fn split(function: &mut ItemFn) -> Attributes {
        let (outer, inner): (Vec<_>, Vec<_>) = std::mem::take(&mut function.attrs)
            .into_iter()
            .partition(|a| ["doc", "cfg", "deprecated"].iter().any(|n| a.path().is_ident(n)));
        function.attrs = inner;
        let cfgs = outer.iter().filter(|a| a.path().is_ident("cfg")).cloned().collect();
        Attributes { outer, cfgs }
    }
}

fn emit(noun: Noun, options: &Options, mut function: ItemFn) -> TokenStream {
    let krate = &options.krate;
    let private = quote!(#krate::__private_0_1);
    let (visibility, ident) = (function.vis.clone(), function.sig.ident.clone());
    let name = name_of(options.name.as_ref(), &ident);
    function.vis = syn::Visibility::Inherited;
    let Attributes { outer: docs, cfgs } = Attributes::split(&mut function);
    let inner = &function.sig.ident;
    let (output, pointer) = match &function.sig.output {
        ReturnType::Default => (quote!(()), quote!(#inner)),
        ReturnType::Type(_, ty) => match &**ty {
            // Two types that cannot be named in the handle's: their status can.
            Type::ImplTrait(_) => {
                let status = quote!(#private::exit_status(#inner(start)));
                let code = quote!(::std::process::ExitCode);
                (code.clone(), quote!(|start| #code::from(#status)))
            }
            Type::Never(_) => (quote!(::std::process::ExitCode), quote!(|start| #inner(start))),
            ty => (quote!(#ty), quote!(#inner)),
        },
    };
    let (handle, kind, thunk) = match noun {
        Noun::Entry => {
            (quote!(Entry), quote!(Entry), quote!(|start| #private::exit_status((*#ident)(start))))
        }
        Noun::Setup => (
            quote!(Setup),
            quote!(Setup),
            quote!(|args| #private::SetupResult::into_message((*#ident)(args))),
        ),
    };
    let element = format_ident!("OFFSHOOT_REGISTERED");
    quote! {
        #(#docs)*
        #[allow(non_upper_case_globals)]
        #visibility const #ident: #private::#handle<#output> = {
            #function
            #private::#handle::__new(#name, #pointer)
        };
        #(#cfgs)*
        #[allow(deprecated)]
        const _: () = {
            #[#private::linkme::distributed_slice(#private::REGISTRY)]
            #[linkme(crate = #private::linkme)]
            static #element: #private::Registered = #private::Registered {
                name: #name,
                kind: #private::Registration::#kind(#thunk),
            };
        };
    }
}
