//! Whether a process lives, for those that are forked from it.
//!
//! They inherit a descriptor of it. Its number would not do: numbers come again, and to a
//! fork in another pid namespace it is that of another process, or of none. Where there is no
//! descriptor, numbers count among those who are known to be in one namespace.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::stat::fstat;

use super::pidfd;

/// A process as its forks know it. Each process is called by a token of the caller's choice.
pub(crate) struct Living {
    /// Without, where there are no descriptors of processes, or no more descriptors.
    inherited: Option<Inherited>,
    /// The namespace of all whose number was ever given, on a page that forks share; 0 before
    /// there is one, and `SEVERAL` if they are not in one, or that cannot be told.
    namespace: &'static AtomicU64,
}

struct Inherited {
    fd: OwnedFd,
    /// What file that is. A program that closes what it does not know may have something
    /// else at its number by now.
    file: AtomicU64,
    /// Who it is a descriptor of.
    of: AtomicU32,
}

const SEVERAL: u64 = u64::MAX;

impl Living {
    /// The process `pid`, which lives: this one, or another of its namespace.
    pub(crate) fn new(pid: i32, token: u32, namespace: &'static AtomicU64) -> Living {
        let opened = pidfd::open(pid).and_then(|fd| Ok((file_of(&fd)?, fd)));
        let inherited = opened.ok().map(|(file, fd)| Inherited {
            fd,
            file: AtomicU64::new(file),
            of: AtomicU32::new(token),
        });
        let living = Living { inherited, namespace };
        if living.inherited.is_none() {
            living.give_number();
        }
        living
    }

    /// Whether the process that is called `token`, and had the number `pid`, has ended, or
    /// ends within `patience`. A zombie has. One of which nothing is known lives.
    pub(crate) fn gone(&self, token: u32, pid: i32, patience: Duration) -> bool {
        match &self.inherited {
            Some(it) if it.of.load(Ordering::Acquire) == token => {
                file_of(&it.fd).is_ok_and(|now| now == it.file.load(Ordering::Acquire))
                    && pidfd::ends_within(&it.fd, patience)
            }
            _ => {
                let there = self.namespace.load(Ordering::Acquire);
                there != SEVERAL && namespace() == Some(there) && pidfd::gone(pid, patience)
            }
        }
    }

    /// Before the number of this process is given to others, who have no descriptor of it:
    /// siblings, or what it forked before.
    pub(crate) fn give_number(&self) {
        let own = namespace().unwrap_or(SEVERAL);
        let set = self.namespace.compare_exchange(0, own, Ordering::AcqRel, Ordering::Acquire);
        if set.is_err_and(|there| there != own) {
            self.namespace.store(SEVERAL, Ordering::Release);
        }
    }

    /// From now on it is this process, `token`, that is looked at: by those that it forks.
    /// (The old one is gone.)
    pub(crate) fn become_own(&self, token: u32) {
        let Some(it) = &self.inherited else { return };
        let Ok(own) = pidfd::open(std::process::id() as i32) else { return };
        let Ok(new) = file_of(&own) else { return };
        // In the same place, since other threads may be looking at the old one.
        // SAFETY: the number stays open, and `fd` its only owner.
        if unsafe { libc::dup3(own.as_raw_fd(), it.fd.as_raw_fd(), libc::O_CLOEXEC) } >= 0 {
            it.file.store(new, Ordering::Release);
            it.of.store(token, Ordering::Release);
        }
    }
}

#[cfg(test)]
impl Living {
    /// As where there are no descriptors of processes; in this namespace, or another.
    pub(crate) fn by_number(here: bool) -> Living {
        let another = || namespace().map_or(1, |own| !own);
        let there = if here { namespace().expect("/proc is mounted") } else { another() };
        let namespace = &super::shared::shared_numbers().expect("there is memory")[2];
        namespace.store(there, Ordering::Release);
        Living { inherited: None, namespace }
    }

    /// As if the program had closed the descriptor, and opened another file.
    pub(crate) fn replace(&self, by: &fs::File) {
        let Some(it) = &self.inherited else { return };
        // SAFETY: as in `become_own`.
        unsafe { libc::dup3(by.as_raw_fd(), it.fd.as_raw_fd(), libc::O_CLOEXEC) };
    }
}

fn file_of(fd: &OwnedFd) -> io::Result<u64> {
    Ok(fstat(fd).map(|file| file.st_ino ^ file.st_dev.rotate_left(32))?)
}

/// The pid namespace of this process, where /proc is mounted.
fn namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino()).ok()
}
