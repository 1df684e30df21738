//! What a template, or a new process, cannot tell at once is told later.

use offshoot_tests::program::{Program, at_once};
use offshoot_tests::{DEADLINE, output_of, within};

const SHORT_OF_ROOM: &str = env!("CARGO_BIN_EXE_short_of_room");

#[test]
fn no_reply_is_lost_for_want_of_memory() {
    output_of(SHORT_OF_ROOM, &["memory"]);
}

#[test]
fn a_reply_that_is_refused_is_tried_again_or_ends_the_new_process() {
    output_of(SHORT_OF_ROOM, &["refusal"]);
}

#[test]
fn a_new_process_waits_for_as_long_as_its_parent_does_not_read() {
    output_of(SHORT_OF_ROOM, &["late"]);
}

#[test]
fn a_new_process_that_waits_to_be_read_ends_with_the_program() {
    within(DEADLINE, || {
        let mut program = Program::play(SHORT_OF_ROOM, &["never"]);
        program.expect("they wait");
        program.nobody_left(at_once());
    });
}
