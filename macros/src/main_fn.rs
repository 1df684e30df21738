//! `#[main]`: the opt-in marker, and the place where a template is caught.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result, Visibility};

use crate::options::Options;

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let parsed = Options::parse(options, false).and_then(|o| Ok((o, parse(item.clone())?)));
    match parsed {
        Ok((options, function)) => emit(&options, function),
        Err(error) => {
            let error = error.to_compile_error();
            // Without any `main`, the compiler would complain of that as well.
            let was_main = syn::parse2::<ItemFn>(item).is_ok_and(|f| f.sig.ident == "main");
            let stub = was_main.then(|| quote! { fn main() {} });
            quote!(#error #stub)
        }
    }
}

fn parse(item: TokenStream) -> Result<ItemFn> {
    let function: ItemFn = syn::parse2(item)
        .map_err(|e| Error::new(e.span(), "#[offshoot::main] goes on `fn main`"))?;
    let s = &function.sig;
    if s.ident != "main" {
        return Err(Error::new(
            s.ident.span(),
            "#[offshoot::main] goes on `fn main`: where main is generated, write `offshoot::early!();`",
        ));
    }
    if !s.inputs.is_empty() || !s.generics.params.is_empty() {
        return Err(Error::new(s.span(), "`main` has neither parameters nor generics"));
    }
    if let (Some(asyncness), true) = (&s.asyncness, function.attrs.is_empty()) {
        return Err(Error::new(
            asyncness.span(),
            "an async main needs a runtime: put #[tokio::main], or its like, beside #[offshoot::main]",
        ));
    }
    Ok(function)
}

fn emit(options: &Options, mut function: ItemFn) -> TokenStream {
    let krate = &options.krate;
    let private = quote!(#krate::__private_0_1);
    let visibility = std::mem::replace(&mut function.vis, Visibility::Inherited);
    let (output, name) = (function.sig.output.clone(), function.sig.ident.clone());
    // The program's own main, with its other attributes, goes inside: a runtime that
    // one of them starts must not be running yet when a template is caught.
    quote! {
        #visibility fn #name() #output {
            #private::at_main();
            #function
            #name()
        }
        // A binary's unit tests compile `main` too, but never enter it.
        #[cfg(not(test))]
        const _: () = {
            #[#private::linkme::distributed_slice(#private::OPT_IN)]
            #[linkme(crate = #private::linkme)]
            static OFFSHOOT_OPT_IN: ::core::option::Option<#private::OptIn> =
                #private::OptIn::of_main(::core::module_path!());
        };
    }
}
