//! What stands in the parentheses: `name = "…"`, `crate = path`.

use syn::parse::Parser;
use syn::{LitStr, Path, parse_quote};

pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) krate: Path,
}

impl Options {
    pub(crate) fn parse(tokens: proc_macro2::TokenStream, named: bool) -> syn::Result<Options> {
        let mut options = Options { name: None, krate: parse_quote!(::offshoot) };
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("crate") {
                options.krate = meta.value()?.parse()?;
                Ok(())
            } else if named && meta.path.is_ident("name") {
                let name: LitStr = meta.value()?.parse()?;
                if name.value().is_empty() {
                    return Err(syn::Error::new(name.span(), "a name cannot be empty"));
                }
                options.name = Some(name);
                Ok(())
            } else if named {
                Err(meta.error("unknown option: there are `name = \"…\"` and `crate = path`"))
            } else {
                Err(meta.error("unknown option: there is `crate = path`"))
            }
        });
        parser.parse2(tokens)?;
        Ok(options)
    }
}
