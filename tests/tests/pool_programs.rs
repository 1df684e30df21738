//! Programs with pools: what they leave behind when they end, fork, rest, or run short.

use std::os::unix::process::CommandExt;
use std::process::Command;

use offshoot_tests::program::{Program, at_once};
use offshoot_tests::{DEADLINE, output_of, run_command, within};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pool_scenes");

fn play(scene: &'static str, said: &str) {
    assert_eq!(within(DEADLINE, move || output_of(PROGRAM, &[scene])), format!("{said}\n"));
}

#[test]
fn a_fork_of_the_program_is_answered_that_the_pool_is_not_its_own() {
    play("both", "both");
}

#[test]
fn a_map_that_was_begun_before_the_fork_has_an_error_for_each_item_there() {
    play("maps", "each has an error");
}

fn becomes_daemon(scene: &'static str) {
    within(DEADLINE, move || {
        let mut program = Program::play(PROGRAM, &[scene]);
        program.expect("the daemon is done");
        assert!(program.wait().success());
        program.nobody_left(at_once());
    });
}

#[test]
fn a_daemon_takes_its_pool_along() {
    becomes_daemon("daemon");
}

#[test]
fn a_daemon_takes_its_pool_along_while_the_background_thread_is_at_work() {
    becomes_daemon("daemon of a thread at work");
}

#[test]
fn a_daemon_makes_the_template_that_a_thread_of_its_parent_was_making() {
    becomes_daemon("daemon of a template that is made");
}

#[test]
fn a_daemon_that_a_callback_has_made_has_the_pool() {
    becomes_daemon("daemon of a callback");
}

#[test]
fn a_daemon_is_told_of_a_pool_that_is_in_use_for_ever_and_does_not_hang() {
    becomes_daemon("daemon of a thread that hangs");
}

#[test]
fn at_rest_nobody_is_woken() {
    let said = within(DEADLINE, || output_of(PROGRAM, &["rest"]));
    assert!(said.ends_with("at rest\n"), "{said}");
}

#[test]
fn without_descriptors_each_call_is_told_and_with_them_all_goes_on() {
    play("no descriptors", "told");
}

#[test]
fn without_descriptors_and_pauses_each_call_is_told() {
    play("no descriptors and no pauses", "told");
}

#[test]
fn without_descriptors_for_more_workers_those_that_there_are_go_on() {
    play("no descriptors for more", "goes on");
}

#[test]
fn without_processes_each_call_is_told() {
    if !nix::unistd::getuid().is_root() {
        println!("skipped: only root can become a user without other processes");
        return;
    }
    // One that nobody else is, not even this test in another run.
    let user = 200_000 + std::process::id() % 1_000_000;
    let output = run_command(Command::new(PROGRAM).arg("no processes").uid(user).gid(user));
    assert!(output.status.success(), "{output:?}");
}

fn leaves_nothing(scene: &'static str, end: fn(&mut Program)) {
    within(DEADLINE, move || {
        let mut program = Program::play(PROGRAM, &[scene]);
        let mut lines = [program.line(), program.line()];
        lines.sort();
        assert_eq!(lines, ["all are there", "nested"]);
        end(&mut program);
        program.nobody_left(at_once());
    });
}

#[test]
fn a_program_that_is_killed_leaves_no_worker() {
    leaves_nothing("until killed", Program::kill);
}

#[test]
fn a_program_that_exits_leaves_no_worker() {
    leaves_nothing("until exit", |program| {
        program.go_on();
        program.succeed();
    });
}

#[test]
fn a_program_that_returns_from_main_leaves_no_worker() {
    leaves_nothing("until main returns", |program| {
        program.go_on();
        program.succeed();
    });
}
