//! What an entry and a setup function get.

use std::fmt;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

/// What an entry starts with: its end of the stream to the parent, and the
/// descriptors and strings that were sent to the process, in the order in which
/// they were sent; those of the template that it was forked from come first.
///
/// (`AnyEvent::Fork`: the arguments of the function that `run` enters.)
#[derive(Debug)]
#[non_exhaustive]
pub struct Start {
    /// Connected to the parent's [`Child::stream`](crate::Child::stream). Blocking,
    /// and close-on-exec. When it is dropped, here by the end of the process at the
    /// latest, the parent reads the end of the stream.
    pub stream: UnixStream,
    /// The descriptors sent with [`send_fd`](crate::Process::send_fd).
    pub fds: Vec<OwnedFd>,
    /// The strings sent with [`send_arg`](crate::Process::send_arg).
    pub args: Vec<Vec<u8>>,
}

impl Start {
    pub(crate) fn new(stream: OwnedFd, queued: Queued) -> Start {
        Start { stream: UnixStream::from(stream), fds: queued.fds, args: queued.args }
    }
}

/// The strings given to a [setup function](crate::Process::setup).
#[derive(Clone, PartialEq, Eq)]
pub struct Args(Vec<Vec<u8>>);

impl Args {
    pub(crate) fn new(strings: Vec<Vec<u8>>) -> Args {
        Args(strings)
    }

    /// The strings as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> Vec<String> {
        self.0.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect()
    }

    /// The strings themselves.
    pub fn into_inner(self) -> Vec<Vec<u8>> {
        self.0
    }
}

impl Deref for Args {
    type Target = [Vec<u8>];

    fn deref(&self) -> &[Vec<u8>] {
        &self.0
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.text()).finish()
    }
}

/// What was sent to a process and waits for its run.
#[derive(Debug, Default)]
pub(crate) struct Queued {
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// What was sent to this process so far; see [`run_args`].
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RunArgs {
    /// The descriptors, in the order in which they were sent.
    pub fds: Vec<OwnedFd>,
    /// The strings, in the order in which they were sent.
    pub args: Vec<Vec<u8>>,
}

static QUEUED: Mutex<Option<Queued>> = Mutex::new(None);

/// Inside a setup function: takes the strings and descriptors that were sent to
/// this process so far, so that they do not reach the entry. Elsewhere it returns
/// nothing.
///
/// (`AnyEvent::Fork::Serve::run_args`. "This is mainly useful to get any file
/// handles passed via send_fh.")
pub fn run_args() -> RunArgs {
    let mut queued = QUEUED.lock().unwrap_or_else(|e| e.into_inner());
    let Queued { args, fds } = queued.as_mut().map(std::mem::take).unwrap_or_default();
    RunArgs { fds, args }
}

/// Lends `queued` to [`run_args`] for the time of `setup`.
pub(crate) fn lending<T>(queued: &mut Queued, setup: impl FnOnce() -> T) -> T {
    let slot = || QUEUED.lock().unwrap_or_else(|e| e.into_inner());
    *slot() = Some(std::mem::take(queued));
    let result = setup();
    *queued = slot().take().unwrap_or_default();
    result
}
