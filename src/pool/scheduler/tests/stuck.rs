//! Workers that have nothing but jobs that never end.

use super::scene::Scene;
use crate::pool::scheduler::Why;

#[test]
fn one_without_room_is_of_no_use() {
    let mut pool = Scene::ready_with(1, |rules| rules.load = 2);
    assert!(!pool.pool.is_stuck_with(pool.id(0), 1), "it has none");
    pool.push("a");
    assert!(!pool.pool.is_stuck_with(pool.id(0), 1), "it has room");
    pool.push("b");
    assert!(!pool.pool.is_stuck_with(pool.id(0), 1), "it has another");
    assert!(pool.pool.is_stuck_with(pool.id(0), 2));
    pool.change(|rules| rules.load = 3);
    assert!(!pool.pool.is_stuck_with(pool.id(0), 2));
}

#[test]
fn nor_is_one_that_gets_no_others() {
    let mut pool = Scene::ready_with(2, |rules| rules.load = 2);
    pool.push("a");
    pool.push("b");
    assert!(!pool.pool.is_stuck_with(pool.id(1), 1));
    pool.retire(1, Why::Asked);
    assert!(pool.pool.is_stuck_with(pool.id(1), 1));
    assert!(!pool.pool.is_stuck_with(pool.id(0), 1));
    pool.drain();
    assert!(pool.pool.is_stuck_with(pool.id(0), 1));
    // One that is dying, or gone, ends without help.
    pool.down(0);
    assert!(!pool.pool.is_stuck_with(pool.id(0), 1));
    pool.gone(1);
    assert!(!pool.pool.is_stuck_with(pool.id(1), 1));
}
