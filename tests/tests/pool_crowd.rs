//! A thousand workers, and very many calls.

use offshoot_tests::{DEADLINE, output_of, within};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pool_scenes");

fn play(scene: &'static str) -> String {
    within(2 * DEADLINE, move || output_of(PROGRAM, &[scene]))
}

#[test]
fn a_thousand_workers_come_and_go() {
    assert_eq!(play("a thousand workers"), "nothing is left\n");
}

#[test]
fn calls_that_wait_are_small() {
    println!("{}", play("many calls"));
}
