//! The attribute macros of `offshoot`, which re-exports and documents them.

use proc_macro::TokenStream;

mod function;
mod main_fn;
mod options;

/// Registers a function that takes a process over: see `offshoot::Process::run`.
///
/// `fn(Start) -> impl Termination`. The function becomes a value that can be given to
/// `run`, and still be called. (It is a constant, so a variable of the same name in the
/// same scope is taken for a pattern that has to match it: name that differently.)
///
/// It is registered as `module::path::function`;
/// `name = "…"` gives it another name, `crate = path` says where `offshoot` is.
#[proc_macro_attribute]
pub fn entry(options: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(function::Noun::Entry, options.into(), item.into()).into()
}

/// Registers a function that runs in a process before it is forked or run: see
/// `offshoot::Process::setup`.
///
/// `fn(Args)` or `fn(Args) -> Result<(), E>` with an error that can be shown. Options
/// as for `entry`.
#[proc_macro_attribute]
pub fn setup(options: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(function::Noun::Setup, options.into(), item.into()).into()
}

/// Opts in: a template of the program is forked before `main`.
///
/// Goes on `fn main`, above or below `#[tokio::main]` and its like. In the template
/// `main` is never entered; in unit tests of the binary nothing is forked.
/// `crate = path` says where `offshoot` is.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    main_fn::expand(options.into(), item.into()).into()
}
