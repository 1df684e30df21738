//! Memory, threads and CPU time have bounds, whoever is slow; and what is left when
//! the program is gone, or has forked.

use offshoot_tests::program::{Program, at_once};
use offshoot_tests::{DEADLINE, within};
use offshoot_tests::{output_of, run};

const SCENES: &str = env!("CARGO_BIN_EXE_rpc_scenes");

#[test]
fn a_program_that_calls_and_waits_has_one_thread() {
    assert_eq!(output_of(SCENES, &["one_thread"]), "threads: 1\n");
}

#[test]
fn a_worker_that_is_not_listened_to_waits() {
    assert_eq!(output_of(SCENES, &["unread"]), "bounded\n");
}

#[test]
fn calls_that_a_worker_does_not_take_are_refused() {
    assert_eq!(output_of(SCENES, &["flood"]), "bounded\n");
}

#[test]
fn nobody_spins_who_has_nothing_to_do() {
    assert_eq!(output_of(SCENES, &["idle"]), "idle\n");
}

#[test]
fn no_worker_outlives_a_killed_program() {
    within(DEADLINE, || {
        let mut program = Program::play(SCENES, &["killed"]);
        program.expect("running");
        program.kill();
        program.nobody_left(at_once());
    });
}

#[test]
fn a_fork_of_the_program_cannot_use_its_parents_workers() {
    let said = output_of(SCENES, &["fork"]);
    assert_eq!(said, "the parent's are the parent's\n");
}

#[test]
fn a_fork_of_a_busy_program_lets_go_of_its_handles() {
    assert_eq!(output_of(SCENES, &["fork_busy"]), "nobody waits\n");
}

#[test]
fn a_fork_lets_go_of_the_end_of_a_process_that_another_thread_lets_go_of() {
    assert_eq!(output_of(SCENES, &["fork_exited"]), "let go\n");
}

#[test]
fn a_thread_may_keep_a_worker_until_its_end() {
    assert_eq!(output_of(SCENES, &["kept"]), "7\n");
}

#[test]
fn the_end_of_a_thread_may_make_calls() {
    assert_eq!(output_of(SCENES, &["last_words"]), "told\n");
}

#[test]
fn deadlines_take_no_threads() {
    assert_eq!(output_of(SCENES, &["deadlines"]), "two threads\n");
}

#[test]
fn a_synchronous_worker_is_tiny() {
    assert_eq!(output_of(SCENES, &["tiny"]), "tiny\n");
}

#[test]
fn workers_that_were_never_told_what_they_are_end_quietly() {
    let output = run(SCENES, &["spares"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ended\n");
}
