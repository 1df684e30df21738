//! A worker that calls the program's `main`.

use offshoot_tests::output_of;

const CALLS_MAIN: &str = env!("CARGO_BIN_EXE_calls_main");

#[test]
fn a_worker_can_call_main() {
    assert_eq!(output_of(CALLS_MAIN, &[]), "in a worker\nin the program\n");
}
