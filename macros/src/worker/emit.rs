//! What a worker function becomes: a handle, an element of the registry, and an
//! implementation of the library's traits.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemFn, Path, ReturnType, Type, parse_quote};

use super::{Role, Style, Worker, typed};
use crate::function::{Attributes, name_of};
use crate::options::WorkerOptions;

pub(super) fn emit(worker: Worker, options: &WorkerOptions) -> TokenStream {
    let Worker { mut function, style, roles, arguments, state, event, reply } = worker;
    let krate = &options.common.krate;
    let private = quote!(#krate::__private_0_1);
    let (visibility, ident) = (function.vis.clone(), function.sig.ident.clone());
    let name = name_of(options.common.name.as_ref(), &ident);
    let Attributes { outer, .. } = Attributes::split(&mut function);
    function.vis = syn::Visibility::Inherited;
    let inner = function.sig.ident.clone();

    let args_type: Type = match &arguments[..] {
        [] => parse_quote!(()),
        [one] => one.clone(),
        several => {
            let mut tuple =
                TokenTree::from(Group::new(Delimiter::Parenthesis, quote!(#(#several,)*)));
            tuple.set_span(function.sig.paren_token.span.join());
            parse_quote!(#tuple)
        }
    };
    let names: Vec<_> = (0..arguments.len()).map(|i| format_ident!("argument_{i}")).collect();
    let pattern = match &names[..] {
        [] => quote!(()),
        [one] => quote!(#one),
        several => quote!((#(#several,)*)),
    };
    let mut given = names.iter();
    let passed: Vec<_> = roles
        .iter()
        .map(|role| match role {
            Role::Context => quote!(cx),
            Role::State => quote!(state),
            Role::Done => quote!(done),
            Role::Argument => {
                let name = given.next();
                quote!(#name)
            }
        })
        .collect();
    let types: Vec<Type> =
        function.sig.inputs.iter().filter_map(typed).map(|input| *input.ty).collect();
    let (pointer_type, pointer) = pointer(style, &types, &function, &inner);
    let state_type: Type = state.unwrap_or_else(|| parse_quote!(()));
    let initial = match &options.init {
        Some(path) => {
            quote_spanned!(path.span()=> #private::initial::<#state_type, #event, _, _>(#path))
        }
        None => quote!(#private::nothing()),
    };
    let done = options.done.as_ref().map(|path: &Path| {
        quote! { fn done() { let () = #path(); } }
    });
    let speeches = match &options.codec {
        Some(codec) => {
            let of = quote_spanned!(codec.span()=> #private::Speech::of::<#codec>());
            quote!(&[#of])
        }
        // What cannot be carried is pointed at where it stands.
        None => {
            quote_spanned!(ident.span()=> #private::speeches::<#args_type, #reply, #event>())
        }
    };
    let called = quote! {
        impl #private::Called for Served {
            type Args = #args_type;
            type Reply = #reply;
            type Event = #event;
            type State = #state_type;

            fn initial() -> #private::Initial<#state_type, #event> {
                #initial
            }

            #done
        }
    };
    let (call, serve, handle_style) = match style {
        Style::Sync => (
            quote! {
                impl #private::CalledSync for Served {
                    #[allow(unused_variables, clippy::unit_arg, reason = "a function may take and give nothing")]
                    fn call(
                        state: &mut #state_type,
                        cx: &#krate::Context<#event>,
                        #pattern: #args_type,
                    ) -> #reply {
                        #inner(#(#passed),*)
                    }
                }
            },
            quote!(serve_sync),
            quote!(Sync),
        ),
        Style::Done => (
            quote! {
                impl #private::CalledDone for Served {
                    #[allow(unused_variables, reason = "a function may take none of them")]
                    fn call(
                        state: &mut #state_type,
                        cx: &#krate::Context<#event>,
                        done: #krate::Done<#reply>,
                        #pattern: #args_type,
                    ) {
                        #inner(#(#passed),*)
                    }
                }
            },
            quote!(serve_done),
            quote!(Async),
        ),
        Style::Async => (
            quote! {
                impl #private::CalledAsync for Served {
                    #[allow(unused_variables, reason = "a function may take none of them")]
                    fn call(
                        state: ::std::rc::Rc<#state_type>,
                        cx: #krate::Context<#event>,
                        #pattern: #args_type,
                    ) -> impl ::core::future::Future<Output = #reply> + 'static {
                        #inner(#(#passed),*)
                    }
                }
            },
            quote!(serve_async),
            quote!(Async),
        ),
    };
    let element = format_ident!("OFFSHOOT_REGISTERED");
    quote! {
        #(#outer)*
        #[allow(non_upper_case_globals)]
        #visibility const #ident: #krate::Worker<#pointer_type, #args_type, #reply, #event> = {
            #function
            struct Served;
            #called
            #call
            const SPEECHES: &[#private::Speech<#args_type, #reply, #event>] = #speeches;
            #[#private::linkme::distributed_slice(#private::REGISTRY)]
            #[linkme(crate = #private::linkme)]
            static #element: #private::Registered = #private::Registered {
                name: #name,
                kind: #private::Registration::Worker(|start| {
                    #private::#serve::<Served>(start, SPEECHES)
                }),
            };
            #krate::Worker::__new(
                #name,
                #pointer,
                #private::Style::#handle_style,
                SPEECHES,
                <Served as #private::Called>::given,
            )
        };
    }
}

/// The function as a value that can be called here, and its type.
fn pointer(
    style: Style,
    types: &[Type],
    function: &ItemFn,
    inner: &syn::Ident,
) -> (TokenStream, TokenStream) {
    let output = &function.sig.output;
    if style != Style::Async {
        return (quote!(fn(#(#types),*) #output), quote!(#inner));
    }
    let output = match output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => quote!(#ty),
    };
    let names: Vec<_> = (0..types.len()).map(|i| format_ident!("argument_{i}")).collect();
    let future = quote! {
        ::core::pin::Pin<::std::boxed::Box<dyn ::core::future::Future<Output = #output>>>
    };
    (
        quote!(fn(#(#types),*) -> #future),
        quote!(|#(#names),*| ::std::boxed::Box::pin(#inner(#(#names),*))),
    )
}
