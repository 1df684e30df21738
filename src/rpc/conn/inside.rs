//! Which callbacks a thread is in: there it must not wait for the same connection, or pool.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

use super::Conn;

/// A callback: of a connection (or of none of a pool's), and of which pool (or 0).
type Which = (*const Conn, usize);

const NONE: Which = (std::ptr::null(), 0);

thread_local! {
    /// The callback that this thread is in.
    static INNERMOST: Cell<Which> = const { Cell::new(NONE) };
    /// Those around it: almost never any. It owns nothing while there are none, and is not
    /// destroyed with the thread: other variables may hold a worker until then.
    static AROUND: ManuallyDrop<RefCell<Vec<Which>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Marks the thread as being in a callback, until it is dropped.
pub(crate) struct Inside {
    nested: bool,
}

impl Inside {
    pub(super) fn of(conn: &Conn) -> Inside {
        Inside::enter((std::ptr::from_ref(conn), conn.handlers.owner()))
    }

    /// A callback of a pool that comes from none of its workers.
    pub(crate) fn of_pool(pool: usize) -> Inside {
        Inside::enter((std::ptr::null(), pool))
    }

    #[inline]
    fn enter(which: Which) -> Inside {
        let around = INNERMOST.replace(which);
        let nested = around != NONE;
        if nested {
            AROUND.with(|all| all.borrow_mut().push(around));
        }
        Inside { nested }
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        let mut around = NONE;
        if self.nested {
            around = AROUND.with(|all| left(&mut all.borrow_mut()));
        }
        INNERMOST.set(around);
    }
}

/// The innermost of those around.
#[cold]
fn left(all: &mut Vec<Which>) -> Which {
    let innermost = all.pop().unwrap_or(NONE);
    if all.is_empty() {
        *all = Vec::new();
    }
    innermost
}

#[inline]
fn is_in_any(is_it: impl Fn(Which) -> bool) -> bool {
    let innermost = INNERMOST.get();
    innermost != NONE
        && (is_it(innermost) || AROUND.with(|all| all.borrow().iter().any(|w| is_it(*w))))
}

/// Whether this thread is in a callback of a pool.
pub(crate) fn is_in_callback_of(pool: usize) -> bool {
    is_in_any(|(_, owner)| owner == pool)
}

impl Conn {
    pub(crate) fn is_calling_back(&self) -> bool {
        is_in_any(|(conn, _)| std::ptr::eq(conn, self))
    }
}
