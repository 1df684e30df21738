//! Whether this process is a fork of the one that asked before, for the price of a load.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::shared;

/// Notices that the program has forked itself. For paths on which asking the kernel for
/// the process id each time would be a third of their cost.
#[derive(Debug)]
pub(crate) struct Birthmark {
    /// The number of the process, in its line; on a page that the kernel wipes in a fork.
    mark: Option<&'static AtomicU32>,
    /// That of the process where the mark was made. (A pid where there is no such page.)
    number: AtomicU32,
}

/// The last number in this line of processes: forks count on from here. (A pid would not
/// do: in another pid namespace a fork may have its parent's.)
static LAST: AtomicU32 = AtomicU32::new(0);

impl Birthmark {
    /// Of this process.
    pub(crate) fn new() -> Birthmark {
        let made = Birthmark { mark: page(), number: AtomicU32::new(0) };
        made.renew();
        made
    }

    /// From now on, of the process that calls this.
    pub(crate) fn renew(&self) {
        let number = self.mark.map_or_else(own_pid, number_at);
        self.number.store(number, Ordering::Release);
    }

    /// As if another process had made it.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        self.number.store(u32::MAX, Ordering::Release);
    }

    /// Whether this still is the process in which the mark was made.
    pub(crate) fn is_here(&self) -> bool {
        let now = self.mark.map_or_else(own_pid, |mark| mark.load(Ordering::Acquire));
        now == self.number.load(Ordering::Acquire)
    }
}

/// That of this process in its line, never 0: none that it was forked from has the same, where
/// the kernel wipes pages. (Else a pid.)
pub(crate) fn own_number() -> u32 {
    page().map_or_else(own_pid, number_at)
}

/// The number of this process; a new one if it has none yet.
fn number_at(mark: &AtomicU32) -> u32 {
    let known = mark.load(Ordering::Acquire);
    if known != 0 {
        return known;
    }
    let new = LAST.fetch_add(1, Ordering::AcqRel) + 1;
    match mark.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(anothers) => anothers,
    }
}

fn own_pid() -> u32 {
    std::process::id()
}

/// The page, one for all marks. No `OnceLock`: a fork of the program that another thread makes
/// meanwhile would wait for it for ever.
fn page() -> Option<&'static AtomicU32> {
    static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
    // SAFETY: null, or the address of a number that stays for ever.
    let known = |pointer: *mut AtomicU32| unsafe { pointer.as_ref() };
    known(PAGE.load(Ordering::Acquire)).or_else(|| {
        let new = shared::wiped_number().ok()?;
        let pointer = ptr::from_ref(new).cast_mut();
        let before =
            PAGE.compare_exchange(ptr::null_mut(), pointer, Ordering::AcqRel, Ordering::Acquire);
        known(before.map_or_else(|first| first, |_| pointer))
    })
}
