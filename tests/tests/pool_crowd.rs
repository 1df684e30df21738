//! A thousand workers, and very many calls.

use std::process::Command;

use offshoot_tests::{DEADLINE, run_command_within};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pool_scenes");

fn play(scene: &str) -> String {
    let output = run_command_within(2 * DEADLINE, Command::new(PROGRAM).arg(scene));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_thousand_workers_come_and_go() {
    assert_eq!(play("a thousand workers"), "nothing is left\n");
}

#[test]
fn calls_that_wait_are_small() {
    println!("{}", play("many calls"));
}
