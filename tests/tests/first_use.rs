//! Threads that use the library first at the same moment.

use offshoot_tests::{DEADLINE, output_of, within};

/// More allocations than it takes to make a process.
const MOST: u32 = 200;

#[test]
fn the_early_template_is_not_lost_between_two_threads() {
    the_other_does_its("thread");
}

#[test]
fn a_fork_made_meanwhile_has_its_processes() {
    the_other_does_its("fork");
}

fn the_other_does_its(way: &'static str) {
    within(DEADLINE, move || {
        for count in 1..MOST {
            let said = output_of(env!("CARGO_BIN_EXE_first_use"), &[&count.to_string(), way]);
            if said.starts_with("never") {
                assert!(count > 5, "it was not held up where it could be");
                return;
            }
            assert_eq!(said, "MainCaught\n", "held up at allocation {count}");
        }
        panic!("it makes {MOST} allocations");
    });
}
