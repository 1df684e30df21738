//! What stands in the parentheses: `name = "…"`, `crate = path`, and a worker's own.

use proc_macro2::TokenStream;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{LitStr, Path, Result, Token, parse_quote};

pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) krate: Path,
}

impl Options {
    fn new() -> Options {
        Options { name: None, krate: parse_quote!(::offshoot) }
    }

    /// Takes an option, if it is one of those that all functions have.
    fn take(&mut self, named: bool, meta: &ParseNestedMeta<'_>) -> Result<bool> {
        if meta.path.is_ident("crate") {
            self.krate = meta.value()?.parse()?;
        } else if named && meta.path.is_ident("name") {
            let name: LitStr = meta.value()?.parse()?;
            if name.value().is_empty() {
                return Err(syn::Error::new(name.span(), "a name cannot be empty"));
            }
            self.name = Some(name);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    pub(crate) fn parse(tokens: TokenStream, named: bool) -> Result<Options> {
        let mut options = Options::new();
        let parser = syn::meta::parser(|meta| {
            if options.take(named, &meta)? {
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

/// Options of `#[worker]`.
pub(crate) struct WorkerOptions {
    pub(crate) common: Options,
    pub(crate) init: Option<Path>,
    pub(crate) done: Option<Path>,
    pub(crate) codec: Option<Path>,
}

impl WorkerOptions {
    pub(crate) fn parse(tokens: TokenStream) -> Result<WorkerOptions> {
        let mut options =
            WorkerOptions { common: Options::new(), init: None, done: None, codec: None };
        let parser = syn::meta::parser(|meta| {
            if options.common.take(true, &meta)? {
                return Ok(());
            }
            let (place, what) = if meta.path.is_ident("init") {
                (&mut options.init, "`init = function`")
            } else if meta.path.is_ident("done") {
                (&mut options.done, "`done = function`")
            } else if meta.path.is_ident("codec") {
                (&mut options.codec, "`codec = type`")
            } else {
                return Err(meta.error(
                    "unknown option: there are `init = function`, `done = function`, `codec = type`, `name = \"…\"` and `crate = path`",
                ));
            };
            if place.is_some() {
                return Err(meta.error("this is said already"));
            }
            if !meta.input.peek(Token![=]) {
                return Err(meta.error(format!("write {what}")));
            }
            let value = meta.value()?;
            let span = value.span();
            let path = value.parse();
            *place =
                Some(path.map_err(|_| {
                    syn::Error::new(span, format!("write {what}, with a path to it"))
                })?);
            Ok(())
        });
        parser.parse2(tokens)?;
        Ok(options)
    }
}
