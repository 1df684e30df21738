//! The standard streams that a template has from the program, for its forks.
//!
//! Others may wait for their end: the shell in `out=$(daemon)`, the reader of a pipe, a
//! terminal. A program that becomes a daemon lets go of them, and the process that was started
//! ends; a template would hold them for as long as the daemon lives. So it lets go of them
//! when that process has ended, if it then is still there itself. With its first request the
//! daemon gives it its own streams in their place (`Link::adopt`).
//!
//! What somebody else has put there stays: a step, or a setup function.

use std::os::fd::{AsFd, OwnedFd};

use crate::sys::fdpass::{self, Sender};
use crate::sys::fds::{self, FileId};
use crate::sys::pidfd;

#[derive(Default)]
pub(crate) struct Streams {
    /// Not those of the program.
    own: [bool; 3],
    /// The process whose they are: readable when it has ended. `None` once it has, and where
    /// there are no process descriptors.
    of: Option<OwnedFd>,
    /// Since when they are /dev/null: what they were.
    were: Option<[Option<FileId>; 3]>,
}

impl Streams {
    /// Of the process that has made this control socket.
    pub(super) fn of_maker(control: &OwnedFd) -> Streams {
        let maker = fdpass::control_peer(control).and_then(|maker| pidfd::open(maker.pid));
        let mut streams = Streams::default();
        match maker {
            Ok(maker) => streams.of = Some(maker),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => streams.let_go(),
            Err(_) => {}
        }
        streams
    }

    /// What is readable when they are to be let go.
    pub(super) fn owner(&self) -> Option<&OwnedFd> {
        self.of.as_ref()
    }

    /// In a process that does not serve.
    #[inline]
    pub(super) fn forget_owner(&mut self) {
        self.of = None;
    }

    /// A step has set this one.
    pub(crate) fn set(&mut self, number: u8) {
        if let Some(own) = self.own.get_mut(usize::from(number)) {
            *own = true;
        }
    }

    /// Takes note of those that `change` sets.
    pub(crate) fn changed_by<T>(&mut self, change: impl FnOnce() -> T) -> T {
        let before = fds::stdio_files();
        let result = change();
        for ((own, before), after) in self.own.iter_mut().zip(before).zip(fds::stdio_files()) {
            *own |= before != after;
        }
        result
    }

    pub(super) fn let_go(&mut self) {
        self.of = None;
        if self.were.is_some() {
            return;
        }
        self.were = Some(fds::stdio_files());
        for number in (0..3u8).filter(|n| !self.own[usize::from(*n)]) {
            // Without /dev/null they stay: closed, they would be whatever is opened next.
            let _ = fds::null().and_then(|null| fds::onto_stdio(null, number.into()));
        }
    }

    /// A daemon that has taken this template over gives it its own. `trusted`, unless it has
    /// other privileges: such a one can have back what was there.
    pub(super) fn take_over(
        &mut self,
        given: impl Iterator<Item = OwnedFd>,
        daemon: Sender,
        trusted: bool,
    ) {
        if self.of.as_ref().is_some_and(|of| !pidfd::has_ended(of)) {
            // Somebody who was given this socket, in a program that lives on.
            return;
        }
        self.let_go();
        let were = self.were.take().unwrap_or_default();
        for ((fd, number), (own, was)) in given.zip(0..).zip(self.own.into_iter().zip(were)) {
            let same = || was.is_some() && was == fds::file_id(fd.as_fd());
            if !own && (trusted || same()) {
                let _ = fds::onto_stdio(fd, number);
            }
        }
        self.of = pidfd::open(daemon.pid).ok();
    }
}
