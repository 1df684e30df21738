//! Whether this process is a fork of the one that asked before, for the price of a load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use super::shared;

/// Notices that the program has forked itself. For paths on which asking the kernel for
/// the process id each time would be a third of their cost.
#[derive(Debug)]
pub(crate) struct Birthmark {
    /// The pid where the mark was made; on a page that the kernel wipes in a fork.
    mark: Option<&'static AtomicI32>,
    pid: AtomicI32,
}

impl Birthmark {
    /// Of this process.
    pub(crate) fn new() -> Birthmark {
        static PAGE: OnceLock<Option<&'static AtomicI32>> = OnceLock::new();
        let mark = *PAGE.get_or_init(|| shared::wiped_number().ok());
        let made = Birthmark { mark, pid: AtomicI32::new(0) };
        made.renew();
        made
    }

    /// From now on, of the process that calls this.
    pub(crate) fn renew(&self) {
        let pid = own_pid();
        if let Some(mark) = self.mark {
            mark.store(pid, Ordering::Release);
        }
        self.pid.store(pid, Ordering::Release);
    }

    /// Whether this still is the process in which the mark was made.
    pub(crate) fn is_here(&self) -> bool {
        match self.mark {
            Some(mark) => mark.load(Ordering::Acquire) == self.pid.load(Ordering::Acquire),
            None => own_pid() == self.pid.load(Ordering::Acquire),
        }
    }
}

fn own_pid() -> i32 {
    std::process::id() as i32
}
