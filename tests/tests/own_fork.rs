//! A program that forks by itself, where both sides go on to make processes.

use offshoot_tests::output_of;
use offshoot_tests::program::on_each;

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const POOL_FORK: &str = env!("CARGO_BIN_EXE_pool_fork");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");

#[test]
fn the_fork_makes_its_own_and_leaves_the_parents_alone() {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], |program| {
        output_of(program, &["both"]);
    });
}

#[test]
fn the_parents_pool_is_not_the_forks() {
    assert_eq!(output_of(POOL_FORK, &[]), "the parent's is the parent's\n");
}

#[test]
fn a_fork_that_is_first_does_not_take_the_early_template() {
    for (program, road) in
        [(MAIN_CAUGHT, "MainCaught\n"), (HOOK_SERVED, "HookServed\n"), (NO_OPT_IN, "ReExec\n")]
    {
        on_each(&[program], move |program| {
            assert_eq!(output_of(program, &["asks_first"]), road);
        });
    }
}
