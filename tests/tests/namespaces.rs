//! Forks of a program, and processes of a template, in a pid namespace of their own. (Where
//! none can be made, the scenes say that they are skipped.)

use nix::sys::signal::Signal;
use offshoot_tests::program::{Program, Watched, at_once, on_each};
use offshoot_tests::{DEADLINE, output_of};

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");
const ALL: [&str; 3] = [MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN];

/// Whether the scene has come to its end, and not been skipped.
fn comes_to(said: &str, end: &str) {
    if said.starts_with("skipped") {
        return print!("{said}");
    }
    assert_eq!(said, format!("{end}\n"));
}

fn each_plays(scene: &'static [&'static str], end: &'static str) {
    on_each(&ALL, move |program| comes_to(&output_of(program, scene), end));
}

/// The next line, unless the scene was skipped.
fn line(program: &mut Program) -> Option<String> {
    let line = program.line();
    if line.starts_with("skipped") {
        println!("{line}");
        return None;
    }
    Some(line)
}

#[test]
fn a_fork_in_a_namespace_leaves_the_parents_alone() {
    each_plays(&["both_namespaces"], "each has its own");
}

#[test]
fn a_fork_that_has_its_parents_number_leaves_the_parents_alone() {
    each_plays(&["as_init", "both_namespaces"], "each has its own");
}

#[test]
fn a_fork_in_a_namespace_inherits_when_its_parent_ends() {
    on_each(&ALL, |program| {
        let mut program = Program::play(program, &["heir_in_namespace"]);
        comes_to(&program.nobody_left(DEADLINE), "inherited");
    });
}

#[test]
fn processes_of_a_template_can_be_in_a_namespace() {
    each_plays(&["setup_unshares"], "numbered anew");
}

#[test]
fn processes_in_a_namespace_die_with_the_program() {
    on_each(&ALL, |program| {
        let mut program = Program::play(program, &["setup_unshares_killed"]);
        for _ in 0..3 {
            let Some(line) = line(&mut program) else { return };
            assert!(line.starts_with("at stay "), "{line}");
        }
        program.kill();
        program.nobody_left(at_once());
    });
}

#[test]
fn a_process_in_a_namespace_notices_that_its_template_has_died_before() {
    on_each(&ALL, |program| {
        let mut program = Program::play(program, &["template_dies_in_fork"]);
        let Some(line) = line(&mut program) else { return };
        let pid = line.split(' ').nth(2).expect("a pid").parse().expect("a pid");
        let template = Watched::new(pid);
        program.expect("at fork");
        template.signal(Signal::SIGKILL);
        assert!(template.gone_within(DEADLINE));
        program.go_on();
        assert_eq!(program.line(), "lost true");
        program.succeed();
        program.nobody_left(at_once());
    });
}
