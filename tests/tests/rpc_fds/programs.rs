//! What needs a program of its own: its exact set of descriptors, its limits, its user.

use std::process::Command;

use offshoot_tests::run_command;

fn play(scene: &str) {
    let output = run_command(Command::new(env!("CARGO_BIN_EXE_rpc_fds")).arg(scene));
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{complaints}", output.status);
    assert!(said == "all right\n" || said.starts_with("skipped"), "{said}");
    print!("{said}");
}

#[test]
fn both_processes_have_exactly_what_they_had() {
    play("exact");
}

#[test]
fn a_parent_without_room() {
    play("no_room");
}

#[test]
fn calls_wait_while_too_many_are_on_their_way() {
    play("calls_wait");
}

#[test]
fn calls_are_given_up_alone() {
    play("calls_given_up");
}

#[test]
fn results_wait_while_too_many_are_on_their_way() {
    play("results_wait");
}

#[test]
fn results_and_events_are_given_up_alone() {
    play("results_given_up");
}

#[test]
fn an_unprivileged_program_may_have_any_number_of_calls_in_flight() {
    play("pressed");
}

#[test]
fn a_worker_that_has_ended_costs_nothing() {
    play("at_rest");
}
