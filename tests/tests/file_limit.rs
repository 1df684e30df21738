//! Programs that may not have files of some size.

use offshoot_tests::output_of;
use offshoot_tests::program::on_each;

const ALL: [&str; 3] = [
    env!("CARGO_BIN_EXE_main_caught"),
    env!("CARGO_BIN_EXE_hook_served"),
    env!("CARGO_BIN_EXE_no_opt_in"),
];

#[test]
fn a_program_that_may_have_no_files_sends_and_calls() {
    on_each(&ALL, |program| {
        output_of(program, &["small_files"]);
    });
}

#[test]
fn a_process_that_may_have_no_files_sends_and_calls() {
    on_each(&ALL, |program| {
        output_of(program, &["small_files_inside"]);
    });
}
