//! What ties a process to the one that it was forked from.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::fork::{Tied, die_of, die_with_parent};
use crate::sys::pidfd;
use crate::template::Template;

impl Template {
    /// Has this process, forked by the template `parent`, die with it.
    #[inline]
    pub(super) fn tie_to(&self, parent: i32) -> io::Result<()> {
        if die_with_parent(self.death_signal, parent)? == Tied::Unseen
            && self.death_signal != 0
            && self.parent_has_died()
        {
            die_of(self.death_signal);
        }
        Ok(())
    }

    /// Where the parent has no number, because this process is in another pid namespace.
    #[cold]
    fn parent_has_died(&self) -> bool {
        match &self.itself {
            Some(parent) => shows(parent, PollFlags::POLLIN),
            // Nearly as good: a template ends because its owner has.
            None => shows(self.control(), PollFlags::POLLHUP),
        }
    }

    /// Before it serves: makes sure that what it forks can look whether it still is there.
    pub(super) fn be_seen(&mut self) {
        // The kernel lets only code of the user's put forks where they do not see it.
        let hidden = self.user_code && !forks_are_here();
        self.itself = if hidden { pidfd::open(self.pid).ok() } else { None };
    }
}

/// Whether what this process forks is in its own pid namespace (unshare(2), setns(2)). Where
/// that cannot be told, it is not.
fn forks_are_here() -> bool {
    let id = |name| fs::metadata(name).map(|namespace| (namespace.dev(), namespace.ino())).ok();
    // A new namespace is not shown before there is a process in it.
    id("/proc/self/ns/pid").is_some_and(|own| id("/proc/self/ns/pid_for_children") == Some(own))
}

fn shows(fd: impl AsFd, event: PollFlags) -> bool {
    let mut polled = [PollFd::new(fd.as_fd(), event)];
    let _ = poll(&mut polled, PollTimeout::ZERO);
    polled[0].revents().is_some_and(|events| events.contains(event))
}
