//! The parent's handle of a process that still takes commands.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::Termination;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::child::Child;
use crate::entry::{self, Entry, Setup, SetupResult};
use crate::error::{Error, Kind};
use crate::link::Link;
use crate::make::{Base, Inner, with_room};
use crate::privilege;
use crate::queue::Queue;
use crate::sys::fdpass;
use crate::wire::{Bytes, End, Step};

mod create;

/// A process that waits for commands: it can be prepared, forked, and at last run.
///
/// Preparing steps are queued in this handle, in the order in which they are called,
/// and take effect in the new process in that order. What is wrong with one of them
/// comes out at [`run`](Process::run). The handle costs nothing until something has
/// to be forked: a process that is created, prepared and run is made with one
/// message and one fork.
///
/// Dropping it before `run` gives the process up. If others were forked from it, it
/// lingers, without a handle, until they have ended.
///
/// The process starts as the program was started, not as it is now: with the
/// environment, working directory, umask, limits and arguments of that time.
/// [`like_parent`](Process::like_parent) and the other configuration steps change
/// that. It dies with the process that forked it, and so with the program, unless
/// told otherwise.
///
/// (`AnyEvent::Fork`: the process object.)
#[doc(alias = "template")]
#[doc(alias = "zygote")]
pub struct Process {
    pub(crate) inner: Mutex<Inner>,
}

impl Process {
    /// Forks this process: the new one has everything that was queued in this one,
    /// and whatever its setup functions have loaded. From any thread, any number of
    /// times.
    ///
    /// A setup function runs in this process once, at its first fork; this call does
    /// not wait for it.
    ///
    /// (`$proc->fork`. "If any of the send_ functions have been called before fork,
    /// then they will be cloned in the child.")
    ///
    /// # Errors
    /// What was wrong with a queued step, and what may be wrong with forking: the
    /// template is gone, out of descriptors, out of processes.
    pub fn fork(&self) -> Result<Process, Error> {
        let mut inner = self.lock();
        if inner.is_worth_settling() {
            inner.settle()?;
        }
        let (base, queue) = (inner.base.clone(), inner.queue.clone()?);
        let recipe = inner.recipe.clone();
        Ok(Process { inner: Mutex::new(Inner { base, queue, recipe }) })
    }

    /// Queues a string for the entry: any bytes, up to 4 GiB, though meant for "some
    /// ID information or other startup info, not big chunks of data". Where this program may not have files of that size
    /// (`RLIMIT_FSIZE`), all that is queued for a process can be some 400 KB.
    ///
    /// (`$proc->send_arg`.)
    pub fn send_arg(mut self, bytes: impl AsRef<[u8]>) -> Process {
        self.queue().arg(bytes.as_ref());
        self
    }

    /// Queues a descriptor for the entry; a copy of it is made, so `fd` can be
    /// borrowed. At most 4,096 for one process, those of its templates included.
    ///
    /// (`$proc->send_fh`.)
    pub fn send_fd(mut self, fd: impl AsFd) -> Process {
        self.queue().fd(fd.as_fd(), &Step::Fd, false);
        self
    }

    /// Runs a setup function in the process, with these strings, before it is forked
    /// or run. Whatever it loads, all forks of the process share.
    ///
    /// It runs once, in order with the other steps. It may use threads and other
    /// processes, but must have ended them when it returns. SIGINT, SIGTERM, SIGHUP and
    /// SIGQUIT are blocked meanwhile (std's `Command` clears that for what it runs).
    ///
    /// (`$proc->require` and `$proc->eval`.)
    pub fn setup<R, A>(mut self, setup: Setup<R>, args: A) -> Process
    where
        R: SetupResult + 'static,
        A: IntoIterator,
        A::Item: AsRef<[u8]>,
    {
        let args = args.into_iter().map(|a| a.as_ref().to_vec()).collect();
        self.queue().setup(setup.name(), args);
        self
    }

    /// The last command: `entry` takes the process over. What was queued arrives in
    /// its [`Start`](crate::Start).
    ///
    /// This call does not wait for the new process, with one exception: where setup
    /// functions come before it, it waits until they have run (for a template with
    /// setup functions, only its first fork does), so that their errors come out
    /// here. Configuration steps that fail in the new process come out of
    /// [`Child::wait`].
    ///
    /// (`$proc->run`.)
    ///
    /// # Errors
    /// What was wrong with a queued step; [`is_setup`](Error::is_setup) with the
    /// message of a setup function; [`is_disconnected`](Error::is_disconnected) if
    /// the template has died; [`is_resource`](Error::is_resource) without room for
    /// another process or socket here.
    pub fn run<R: Termination + 'static>(self, entry: Entry<R>) -> Result<Child, Error> {
        self.end(&End::Run(entry.name().as_bytes().into()))
    }

    /// As [`run`](Process::run), for an entry whose name is known only at run time:
    /// `module::path::function`, as registered.
    ///
    /// # Errors
    /// As `run`; [`is_unknown_name`](Error::is_unknown_name), with the nearest names,
    /// if there is no such entry. Nothing has been sent then.
    pub fn run_named(self, name: &str) -> Result<Child, Error> {
        entry::find_entry(name.as_bytes())?;
        self.end(&End::Run(name.as_bytes().into()))
    }

    /// Executes an external program in the process: a fork and exec out of the small
    /// template, whatever the size of this program, with all of the settings above. Strings queued with `send_arg` become further
    /// arguments, queued descriptors its 3, 4, and so on; it has 0, 1 and 2 besides,
    /// and nothing else. A name without a slash is looked up in PATH.
    ///
    /// The stream of the [`Child`] is closed once the program has begun.
    ///
    /// # Errors
    /// As [`run`](Process::run), and at once if there is no program named or an
    /// argument has a NUL in it. That the program could not be executed is told by
    /// [`Child::wait`]: [`is_exec`](Error::is_exec), with the system's error.
    pub fn exec<A>(self, args: A) -> Result<Child, Error>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
    {
        let args: Vec<Bytes<'_>> =
            args.into_iter().map(|a| Bytes::Owned(a.as_ref().as_bytes().to_vec())).collect();
        if args.first().is_none_or(|program| program.is_empty()) {
            return Err(Kind::Argument("exec was given no program".to_owned()).into());
        }
        if args.iter().any(|a| a.contains(&0)) {
            return Err(
                Kind::Argument("exec was given an argument with a NUL in it".to_owned()).into()
            );
        }
        self.end(&End::Exec(args))
    }

    /// Runs a worker, whose handle says that it is registered.
    pub(crate) fn launch(self, name: &str) -> Result<Child, Error> {
        self.end(&End::Run(name.as_bytes().into()))
    }

    fn end(self, end: &End<'_>) -> Result<Child, Error> {
        let inner = self.inner.into_inner().unwrap_or_else(|e| e.into_inner());
        inner.queue.check()?;
        if let End::Run(name) = end {
            privilege::check(name, &inner.queue)?;
        }
        let (near, far) = with_room(fdpass::stream_pair)?;
        let sent = inner.send(end, &far, inner.queue.has_setup())?;
        if inner.queue.has_setup() {
            sent.link.await_ready(&sent.slot)?;
        }
        Ok(Child::new(sent.link, sent.id, sent.slot, UnixStream::from(near)))
    }

    /// Makes the process, as it is by now, and gives out its control socket: to be
    /// sent to another process, which makes a handle of it with
    /// [`from_fd`](Process::from_fd).
    ///
    /// It still dies with the process that it was forked from, and so with this
    /// program, unless it was [detached](Process::detach).
    ///
    /// (`$proc->to_fh`.)
    ///
    /// # Errors
    /// As [`fork`](Process::fork).
    pub fn into_fd(self) -> Result<OwnedFd, Error> {
        let inner = self.inner.into_inner().unwrap_or_else(|e| e.into_inner());
        inner.queue.check()?;
        let (near, far) = with_room(fdpass::template_pair)?;
        // Nobody here waits for it.
        inner.send(&End::Serve, &far, false)?;
        Ok(near)
    }

    /// A process that waits, without anything that was queued, forked from what this one's
    /// forks come from: whoever looks at it sees its parent.
    #[cfg(feature = "testing")]
    pub(crate) fn sibling(&self) -> Result<Child, Error> {
        let base = {
            let mut inner = self.lock();
            if inner.is_worth_settling() {
                inner.settle()?;
            }
            inner.base.clone()
        };
        let inner = Inner { base, queue: Queue::default(), recipe: crate::make::Recipe::Lost };
        let (near, far) = with_room(fdpass::template_pair)?;
        let sent = inner.send(&End::Serve, &far, false)?;
        Ok(Child::new(sent.link, sent.id, sent.slot, UnixStream::from(near)))
    }

    /// Makes it now, if that is worth it, and waits for its setup functions.
    pub(crate) fn settle_now(&self) -> Result<(), Error> {
        self.settle_telling(|_| {})
    }

    /// The same; `tell` is called when there is a process, before its setup functions have run.
    pub(crate) fn settle_telling(&self, tell: impl FnOnce(&Arc<Link>)) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.queue.check()?;
        if inner.is_worth_settling() {
            inner.settle()?;
        }
        if let Base::Template(tether) = &inner.base {
            tell(tether.link());
        }
        inner.wait_ready()
    }

    /// A process that is made of the same, its setup functions run again, because its
    /// template has died. `None` if it came from what cannot be had again.
    pub(crate) fn rebuilt(&self) -> Option<Result<Process, Error>> {
        let again = self.lock().again()?;
        Some(again.map(|inner| Process { inner: Mutex::new(inner) }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn queue(&mut self) -> &mut Queue {
        &mut self.inner.get_mut().unwrap_or_else(|e| e.into_inner()).queue
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let base = match &inner.base {
            Base::Default => "default template",
            Base::Template(_) => "template",
        };
        f.debug_struct("Process").field("from", &base).field("queued", &inner.queue).finish()
    }
}
