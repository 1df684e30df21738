//! What becomes of calls when descriptors or memory cannot be had, here or in the worker:
//! an error for those who cannot be served, and for nobody else.

use offshoot_tests::output_of;

const SCARCE: &str = env!("CARGO_BIN_EXE_rpc_scarce");

#[test]
fn a_program_without_room_for_descriptors() {
    assert_eq!(output_of(SCARCE, &["no_fds"]), "all right\n");
}

#[test]
fn a_program_without_memory_for_a_result() {
    assert_eq!(output_of(SCARCE, &["no_memory"]), "all right\n");
}

#[test]
fn a_worker_without_memory_for_its_arguments() {
    assert_eq!(output_of(SCARCE, &["no_memory_there"]), "all right\n");
}

#[test]
fn workers_with_hardly_any_descriptors() {
    assert_eq!(output_of(SCARCE, &["few_fds_there"]), "all right\n");
}
