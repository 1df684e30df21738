//! Looking for what a fault may have left behind: descriptors and children.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};

use offshoot::{Child, Process};

use crate::entries::answers;
use crate::{DEADLINE, eventually, parent_of};

/// Descriptors of a process, as numbers.
pub fn fds_of(pid: u32) -> BTreeSet<i32> {
    let Ok(dir) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let names = dir.filter_map(|e| e.ok()?.file_name().into_string().ok());
    names.filter_map(|n| n.parse().ok()).collect()
}

/// Children of a process, zombies included.
pub fn children_of(pid: u32) -> BTreeSet<u32> {
    let all = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = all.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|p| parent_of(*p) == Some(pid)).collect()
}

/// The template that a child was forked from; the child has to be running.
pub fn template_of(child: &Child) -> u32 {
    parent_of(child.id().expect("it runs")).expect("it has not been reaped")
}

/// Makes the process itself now, so that what was queued is done in a template
/// rather than in each of its forks.
pub fn settled(process: Process) -> Process {
    Process::from_fd(process.into_fd().expect("it can be made")).expect("it is a process")
}

/// For tests that count descriptors: one at a time within a test binary.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

/// What this process and a template hold now.
#[derive(Debug)]
pub struct Holdings {
    template: u32,
    own: usize,
    theirs: usize,
}

impl Holdings {
    /// Counts them, between one test and the next; see [`alone`].
    pub fn of(template: u32) -> Holdings {
        Holdings { template, own: own_fds(), theirs: fds_of(template).len() }
    }

    /// Fails unless, once what has ended is cleared away, nothing more is held than
    /// before and the template has no children.
    pub fn assert_unchanged(&self) {
        assert_own_fds(self.own);
        eventually(DEADLINE, "descriptors of the template as before", || {
            fds_of(self.template).len() <= self.theirs
        });
        eventually(DEADLINE, "no children of the template", || {
            children_of(self.template).is_empty()
        });
    }
}

/// How many descriptors this process has, but for templates that have gone.
pub fn own_fds() -> usize {
    // With each new process a few of the retired templates are looked at. One that retires
    // here would be counted, or not if it is quick: a count that none later comes down to.
    answers(Process::new().expect("it is usable"));
    fds_of(std::process::id()).len()
}

/// Fails unless this process comes to have no more descriptors than before.
pub fn assert_own_fds(before: usize) {
    eventually(DEADLINE, "no more descriptors in this process", || own_fds() <= before);
}

/// Takes note of what this process and its template hold, between one test and the next,
/// so that after the test it can be seen that nothing was left.
pub struct Clean {
    template: u32,
    fds: BTreeSet<i32>,
    _alone: MutexGuard<'static, ()>,
}

impl Clean {
    /// Before anything else; what is made once, and kept, is made now.
    pub fn before() -> Clean {
        let alone = alone();
        let child = Process::new().and_then(|p| p.exec(["sleep", "1000"])).expect("it runs");
        let template = template_of(&child);
        // This starts the background thread.
        let exited = child.exited_receiver();
        child.kill().expect("it runs");
        exited.recv().expect("one message comes").expect("its status is known");
        drop(child);
        Clean { template, fds: crate::open_fds(), _alone: alone }
    }

    /// Fails unless everything comes to be as it was: the very same descriptors, and no
    /// process, dead or alive.
    pub fn after(&self) {
        let mut last = None;
        let mut all_gone = || {
            // Any new process has the sockets of retired templates put away.
            let child = Process::new().and_then(|p| p.exec(["true"])).expect("it runs");
            assert!(child.wait().expect("its status is known").success());
            drop(child);
            let left =
                (crate::open_fds(), children_of(self.template), children_of(std::process::id()));
            let all_gone = left.0 == self.fds && left.1.is_empty() && left.2.is_empty();
            last = Some(left);
            all_gone
        };
        let start = std::time::Instant::now();
        while !all_gone() && start.elapsed() < DEADLINE / 2 {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        if !all_gone() {
            let fds = crate::open_fds();
            let differing: Vec<_> = fds.symmetric_difference(&self.fds).collect();
            let targets: Vec<_> = differing.iter().map(|fd| crate::proc::target(**fd)).collect();
            panic!("not as before: {differing:?} {targets:?}, of {last:?}");
        }
    }
}

/// From now on a process can open descriptors only at numbers below this one. Its hard limit
/// stays.
#[allow(unsafe_code)]
pub fn limit_descriptors(pid: u32, below: i32) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let open_files = limits.lines().find(|l| l.starts_with("Max open files")).expect("all have it");
    let hard = open_files.split_whitespace().nth(4).expect("as in proc(5)");
    let hard = hard.parse().unwrap_or(libc::RLIM_INFINITY);
    let limit = libc::rlimit { rlim_cur: below as libc::rlim_t, rlim_max: hard };
    // SAFETY: one limit is read, and none is written.
    let done = unsafe {
        libc::prlimit(pid as i32, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut())
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// A number at which no descriptor is open, as if it were borrowed.
#[allow(unsafe_code)]
pub fn closed_fd() -> BorrowedFd<'static> {
    // SAFETY: beyond every open descriptor; calls on it fail with EBADF.
    unsafe { BorrowedFd::borrow_raw(987_654) }
}

/// Takes a descriptor over that a program was started with.
#[allow(unsafe_code)]
pub fn inherited_fd(raw: i32) -> OwnedFd {
    assert!(nix::fcntl::fcntl(crate::borrow(raw).as_fd(), nix::fcntl::FcntlArg::F_GETFD).is_ok());
    // SAFETY: it is open, and the caller is the one who was told its number.
    unsafe { OwnedFd::from_raw_fd(raw) }
}
