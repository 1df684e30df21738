//! The parent's handle of a running process.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use crate::error::{Error, Kind};
use crate::exited::Exited;
use crate::link::Link;
use crate::slot::{Slot, State, Witness};
use crate::sys::signal;
use crate::wire;
pub use usage::Usage;

mod usage;

/// A running process: its end of the stream, and how it ends.
///
/// What is not known yet is waited for by the call that asks for it, and by no other.
/// The status comes from the template's own wait4(2): no `wait(-1)` of the program
/// and no ignored SIGCHLD can lose it.
///
/// Dropping it leaves the process running (its template reaps it in the end; it never
/// becomes a zombie for long), but closes the stream.
pub struct Child {
    link: Arc<Link>,
    id: u64,
    slot: Arc<Slot>,
    stream: UnixStream,
    /// Forgets the process in the link's books when the handle goes.
    #[expect(dead_code, reason = "held for its drop")]
    entry: BookEntry,
}

struct BookEntry {
    link: Arc<Link>,
    id: u64,
    slot: Arc<Slot>,
}

impl Child {
    pub(crate) fn new(link: Arc<Link>, id: u64, slot: Arc<Slot>, stream: UnixStream) -> Child {
        let entry = BookEntry { link: Arc::clone(&link), id, slot: Arc::clone(&slot) };
        Child { link, id, slot, stream, entry }
    }

    /// The process id; waits until the process exists.
    ///
    /// # Errors
    /// Why it does not exist.
    pub fn id(&self) -> Result<u32, Error> {
        if let Some(pid) = self.slot.lock().pid {
            return Ok(pid as u32);
        }
        let known = self.link.ask(
            "asking for a process id",
            |socket, id| wire::send_pid(socket, id, self.id),
            |s| s.done.map(|_| s.pid),
        );
        let mut state = self.slot.lock();
        match known {
            Ok(Some(pid)) => {
                state.pid = Some(pid);
                Ok(pid as u32)
            }
            // It has ended: then that was told before the answer.
            Ok(None) => match (state.pid, state.failure()) {
                (Some(pid), _) => Ok(pid as u32),
                (None, Some(error)) => Err(error),
                (None, None) => {
                    Err(Kind::Protocol("an answer about a process that it has not forked").into())
                }
            },
            Err(error) => Err(state.failure().unwrap_or(error)),
        }
    }

    /// This program's end of the stream. It reads end-of-file when the process has
    /// ended, or has closed its own end.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The stream alone; the process runs on.
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }

    /// Waits for the end of the process. Can be called again, and from several threads.
    ///
    /// It does not close the stream: a process that reads until its end goes on
    /// waiting for that.
    ///
    /// # Errors
    /// Why the process has not run: [`is_resource`](Error::is_resource),
    /// [`is_config`](Error::is_config), [`is_exec`](Error::is_exec),
    /// [`is_denied`](Error::is_denied); or [`is_disconnected`](Error::is_disconnected):
    /// its template died, and nobody can tell how it ended.
    pub fn wait(&self) -> Result<ExitStatus, Error> {
        self.wait_until(None).expect("without a deadline there is an outcome")
    }

    /// The status, if the process has ended.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, Error> {
        self.link.check_owner()?;
        let known = self.slot.lock().outcome();
        if known.is_none() {
            self.link.drain();
        }
        known.or_else(|| self.slot.lock().outcome()).transpose()
    }

    /// Waits for the end of the process, but no longer than `patience`.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn wait_timeout(&self, patience: Duration) -> Result<Option<ExitStatus>, Error> {
        self.wait_until(Instant::now().checked_add(patience)).transpose()
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Option<Result<ExitStatus, Error>> {
        if let Err(error) = self.link.check_owner() {
            return Some(Err(error));
        }
        let over = |s: &mut State| s.is_over().then(|| s.outcome());
        let heard = self.link.wait(&self.slot, deadline, over).or_else(|| {
            // It may be there, and nobody has read it.
            self.link.drain();
            over(&mut self.slot.lock())
        })?;
        heard.or_else(|| self.slot.wait_for_kernel(deadline))
    }

    /// The end of the process as a future, for any runtime. The first one starts this
    /// library's background thread.
    pub fn exited(&self) -> Exited {
        Exited::new(Arc::clone(&self.link), Arc::clone(&self.slot))
    }

    /// The end of the process as a channel that receives one message, to be used in a
    /// `select!`. The first one starts this library's background thread.
    pub fn exited_receiver(&self) -> Receiver<Result<ExitStatus, Error>> {
        let (sender, receiver) = bounded(1);
        let known = match self.link.check_owner().and_then(|()| {
            let mut state = self.slot.lock();
            let known = state.outcome();
            if known.is_some() {
                return Ok(known);
            }
            state.channels.push(sender.clone());
            drop(state);
            self.link.watch_for(&self.slot).map(|()| None)
        }) {
            Ok(known) => known,
            Err(error) => Some(Err(error)),
        };
        if let Some(outcome) = known {
            // Full, if the message has been sent in between.
            let _ = sender.try_send(outcome);
        }
        receiver
    }

    /// Has `waker` woken when it is heard that the process has ended; not if it was lost.
    pub(crate) fn at_end(&self, waker: Waker) {
        let mut state = self.slot.lock();
        if let Some(Ok(_)) = state.outcome() {
            drop(state);
            waker.wake();
        } else {
            state.at_end = Some(waker);
        }
    }

    /// Has the hub listen to that.
    pub(crate) fn watch_end(&self) -> Result<(), Error> {
        self.link.watch()
    }

    /// Ends the process (SIGKILL). One that has ended already is no error.
    ///
    /// # Errors
    /// As [`signal`](Child::signal).
    pub fn kill(&self) -> Result<(), Error> {
        match self.signal(libc::SIGKILL) {
            Err(error) if error.is_ended() => Ok(()),
            done => done,
        }
    }

    /// Ends the process, without waiting to hear that it was done.
    pub(crate) fn kill_soon(&self) {
        let send = |socket: std::os::fd::BorrowedFd<'_>, id| {
            wire::send_signal(socket, id, self.id, libc::SIGKILL)
        };
        if let Ok((id, _)) = self.link.request(crate::slot::Asked::Question, send) {
            self.link.forget(id);
        }
    }

    /// Sends a signal, by way of the template: it alone knows, without a race, that the
    /// process id is still that of this process. Signal 0 only asks whether it runs.
    ///
    /// # Errors
    /// [`is_ended`](Error::is_ended); EPERM, if the process has become another user;
    /// EINVAL for a number that is no signal; and why it has not run at all.
    pub fn signal(&self, number: i32) -> Result<(), Error> {
        if !signal::is_valid(number) {
            let source = io::Error::from_raw_os_error(libc::EINVAL);
            return Err(Kind::System { what: "sending a signal", source }.into());
        }
        self.check_running()?;
        let errno = self.link.ask(
            "sending a signal",
            |socket, id| wire::send_signal(socket, id, self.id, number),
            |s| s.done,
        )?;
        self.answered("sending a signal", errno)
    }

    /// A descriptor that stands for the process (pidfd_open(2)), opened by its template:
    /// it becomes readable when the process ends. It also lets [`wait`](Child::wait), and
    /// whatever else tells the status, ask the kernel (Linux 6.15) for it when the template
    /// is killed; of a [detached](crate::Process::detach) process, which lives on, then too.
    ///
    /// # Errors
    /// [`is_ended`](Error::is_ended), and the system's: ENOSYS where there are none.
    pub fn pidfd(&self) -> Result<OwnedFd, Error> {
        self.check_running()?;
        let what = "opening a process descriptor";
        let (errno, fd) = self.link.ask(
            what,
            |socket, id| wire::send_pidfd(socket, id, self.id),
            |s| s.done.map(|errno| (errno, s.fd.take())),
        )?;
        self.answered(what, errno)?;
        let fd = fd.ok_or(Kind::Protocol("an answer without its descriptor"))?;
        let kept = fd.try_clone().map_err(Error::system(what))?;
        let mut state = self.slot.lock();
        // Afterwards it may have been said already that nobody can tell.
        if state.lost.is_none() {
            state.witness = Some(Witness::new(kept));
        }
        Ok(fd)
    }

    fn check_running(&self) -> Result<(), Error> {
        let state = self.slot.lock();
        match (state.exited, state.failure()) {
            (Some(_), _) => Err(Kind::Ended.into()),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(()),
        }
    }

    fn answered(&self, what: &'static str, errno: i32) -> Result<(), Error> {
        match errno {
            0 => Ok(()),
            // What it died of was told before the answer.
            libc::ESRCH => Err(self.check_running().err().unwrap_or(Kind::Ended.into())),
            errno => Err(Kind::System { what, source: io::Error::from_raw_os_error(errno) }.into()),
        }
    }
}

impl Drop for BookEntry {
    fn drop(&mut self) {
        // In a fork of the program, a lock may be held by a thread that is not there.
        if !self.link.home.is_ours() {
            return;
        }
        let state = self.slot.lock();
        let awaited = state.futures > 0 || !state.channels.is_empty();
        drop(state);
        if !awaited {
            self.link.forget(self.id);
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.slot.lock();
        f.debug_struct("Child")
            .field("pid", &state.pid)
            .field("ended", &state.exited.is_some())
            .finish_non_exhaustive()
    }
}
