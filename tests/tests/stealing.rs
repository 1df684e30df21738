//! Programs that reap whatever they can: no status is lost to them.

use std::process::Command;

use offshoot_tests::program::on_each;
use offshoot_tests::{output_of, run_command};

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");

fn each_plays(scene: &'static str) {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], move |program| {
        output_of(program, &[scene]);
    });
}

#[test]
fn a_loop_of_wait_in_a_thread() {
    each_plays("wait_loop");
}

#[test]
fn a_loop_of_wait_ends_although_there_is_an_early_template() {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED], |program| {
        output_of(program, &["wait_once"]);
    });
}

#[test]
fn sigchld_ignored() {
    each_plays("ignores");
}

#[test]
fn sigchld_ignored_from_the_start() {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], |program| {
        let script = r#"trap "" CHLD; exec "$0" started_ignoring"#;
        let output = run_command(Command::new("/bin/sh").args(["-c", script, program]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

#[test]
fn a_handler_of_sigchld_that_reaps_all() {
    each_plays("handler");
}
