//! Double fork and setsid after templates were made: the daemon keeps them.

use offshoot_tests::DEADLINE;
use offshoot_tests::program::{Program, Watched, at_once, on_each};

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");

#[test]
fn a_daemon_keeps_its_processes_and_templates() {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], |program| {
        let mut program = Program::play(program, &["daemon"]);
        let daemon = program.expect("at daemon ");
        let daemon: u32 = daemon.split(' ').next().expect("a pid").parse().expect("a pid");
        assert_ne!(daemon, program.id());
        // Everything of a daemon dies with it, too.
        Watched::new(daemon).signal(nix::sys::signal::Signal::SIGKILL);
        program.nobody_left(at_once());
    });
}

#[test]
fn a_daemon_takes_an_early_template_that_nobody_has_used() {
    for (program, road) in
        [(MAIN_CAUGHT, "MainCaught\n"), (HOOK_SERVED, "HookServed\n"), (NO_OPT_IN, "ReExec\n")]
    {
        on_each(&[program], move |program| {
            let mut program = Program::play(program, &["daemon_late"]);
            assert_eq!(program.nobody_left(DEADLINE), road);
        });
    }
}

#[test]
fn a_daemon_need_not_wait_for_the_end_of_its_parent() {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], |program| {
        let mut program = Program::play(program, &["daemon_early"]);
        assert_eq!(program.nobody_left(DEADLINE), "done\n");
    });
}

#[test]
fn any_of_a_daemons_threads_may_be_the_first() {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], |program| {
        let mut program = Program::play(program, &["daemon_crowd"]);
        assert_eq!(program.nobody_left(DEADLINE), "done\n");
    });
}

/// Plays a scene that ends in a daemon that has used its workers, and holds.
fn a_daemon_does(scene: &'static [&'static str]) {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], move |program| {
        let mut program = Program::play(program, scene);
        program.expect("at daemon ");
        assert!(program.wait().success());
        program.nobody_left(at_once());
    });
}

#[test]
fn a_daemon_waits_for_calls_and_makes_others() {
    a_daemon_does(&["daemon_waits"]);
}

#[test]
fn a_daemon_hears_events_and_keeps_deadlines() {
    a_daemon_does(&["daemon_hears"]);
}

#[test]
fn a_daemon_keeps_what_a_process_of_its_snapshot_cannot_have() {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], |program| {
        let mut program = Program::play(program, &["rival"]);
        // Of `make`.
        program.expect("at template ");
        program.expect("at template ");
        program.expect("at daemon ");
        assert!(program.wait().success());
        program.nobody_left(at_once());
    });
}

#[test]
fn a_daemon_lets_go_of_workers() {
    a_daemon_does(&["daemon_lets_go", "finish"]);
    a_daemon_does(&["daemon_lets_go", "drop"]);
}
