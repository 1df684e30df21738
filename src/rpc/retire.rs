//! A worker's wish to be retired.

use std::sync::{Arc, OnceLock, Weak};

use super::frame::{Frame, Kind};
use super::output::Output;
use crate::sys::forked::Birthmark;

/// The way to the pool, in the process of one of its workers.
static POOL: OnceLock<(Birthmark, Weak<Output>)> = OnceLock::new();

/// Does in advance what [`begin`] needs.
pub(super) fn prepare() {
    Birthmark::new();
}

/// This process is a worker of a pool.
pub(super) fn begin(output: &Arc<Output>) {
    let _ = POOL.set((Birthmark::new(), Arc::downgrade(output)));
}

/// Tells the pool; whether there is one.
pub(crate) fn retire() -> bool {
    let Some((mark, output)) = POOL.get() else { return false };
    // A process that the worker has forked by itself speaks for nobody.
    let Some(output) = output.upgrade().filter(|_| mark.is_here()) else { return false };
    output.push(Frame::plain(Kind::Retire, 0, &()));
    true
}
