//! The attribute macros of `offshoot`, which re-exports and documents them.

use proc_macro::TokenStream;

mod function;
mod main_fn;
mod options;
mod worker;

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
/// `main` is never entered; in unit tests of the binary nothing is forked, nor for a `main`
/// in a module, as doc tests have it: processes are made by the re-exec road there.
/// `crate = path` says where `offshoot` is.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    main_fn::expand(options.into(), item.into()).into()
}

/// Registers a function that can be called in another process, typed, by RPC: see
/// `offshoot::Process::rpc` and `offshoot::spawn`.
///
/// ```text
/// #[offshoot::worker] fn thumbnail(path: PathBuf, size: u32) -> Result<Thumb, Error> { … }
/// #[offshoot::worker] fn remove(cx: &Context<u64>, path: PathBuf) -> Result<(), String> { … }
/// #[offshoot::worker(init = open_db)] fn query(db: &mut Db, sql: String) -> Vec<Row> { … }
/// #[offshoot::worker] fn crunch(done: Done<u64>, n: u64) { … }
/// #[offshoot::worker] async fn countdown(cx: Context<String>, n: u32) { … }
/// #[offshoot::worker(codec = Octets)] fn join(parts: Vec<Bytes>) -> Vec<u8> { … }
/// ```
///
/// Arguments, result and events are values that the codec can carry: by default whatever
/// has serde's `Serialize` and `Deserialize`. Beside arguments there can be, in any place:
///
/// - `cx: &Context<E>`: sends events of type `E` (by value in an `async fn`);
/// - `state: &mut S`, with `init = function`: what that returned, for all calls (`Rc<S>` in
///   an `async fn`). The init function runs once, in the worker, before the first call. It
///   is one of `fn()`, `fn(RunArgs)`, `fn(RunArgs, I)`, `fn(RunArgs, I, &Context<E>)`, and
///   returns `S`, or a `Result` of it. `RunArgs` is what was sent to the process, `I` what
///   was given to `RpcBuilder::init`;
/// - `done: Done<R>`: makes the worker asynchronous. Its function returns nothing; the
///   result `R` is given to `done`, then or later, on any thread.
///
/// An `async fn` (feature `tokio`) is asynchronous too. All other workers do one call
/// at a time.
///
/// `done = function` names a `fn()` that runs in the worker after its last call, before
/// the process ends, which it can so prolong. `codec = type`: see `offshoot::Codec`.
/// `name` and `crate` as for `entry`.
#[proc_macro_attribute]
pub fn worker(options: TokenStream, item: TokenStream) -> TokenStream {
    worker::expand(options.into(), item.into()).into()
}
