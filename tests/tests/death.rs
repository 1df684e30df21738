//! Who dies when somebody is killed, and what is told of it.

use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot_tests::program::{Program, TREE, Watched, at_once, on_each};
use offshoot_tests::{DEADLINE, output_of, parent_of};

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");
const ALL: [&str; 3] = [MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN];

fn each_plays(scene: &'static str) {
    on_each(&ALL, move |program| {
        output_of(program, &[scene]);
    });
}

/// The process in the next `at` line.
fn at(program: &mut Program, name: &str) -> Watched {
    let rest = program.expect(&format!("at {name} "));
    Watched::new(rest.split(' ').next().expect("a pid").parse().expect("a pid"))
}

#[test]
fn nothing_outlives_a_killed_program() {
    on_each(&ALL, |program| {
        let mut program = Program::play(program, &["tree"]);
        let mut names: Vec<String> = (0..TREE).map(|_| program.expect("at ")).collect();
        names.iter_mut().for_each(|n| n.truncate(n.find(' ').expect("a pid follows")));
        names.sort();
        let all = "exec exec makes_its_own never_ends never_ends read_for_ever spin spin spin \
                   stay stay stay stay stops takes_its_own";
        assert_eq!(names.join(" "), all);
        program.kill();
        program.nobody_left(at_once());
    });
}

/// All of the scene's.
fn detached(program: &mut Program) -> [Watched; 8] {
    std::array::from_fn(|_| at(program, "answer"))
}

#[test]
fn a_setup_function_that_changes_the_user_keeps_the_death_signal() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become somebody else");
        return;
    }
    on_each(&ALL, |program| {
        let mut program = Program::play(program, &["another_user"]);
        let mut names: Vec<String> = (0..3).map(|_| program.expect("at ")).collect();
        names.iter_mut().for_each(|n| n.truncate(n.find(' ').expect("a pid follows")));
        names.sort();
        assert_eq!(names, ["never_ends", "stay", "stay"]);
        program.kill();
        program.nobody_left(at_once());
    });
}

#[test]
fn detached_processes_outlive_program_and_template() {
    on_each(&ALL, |program| {
        let mut program = Program::play(program, &["detached"]);
        let children = detached(&mut program);
        let templates = children.each_ref().map(|c| Watched::new(parent_of(c.pid()).unwrap()));
        program.kill();
        assert!(templates.iter().all(|t| t.gone_within(at_once())));
        let mut left = program.pids();
        let mut expected = children.each_ref().map(Watched::pid);
        left.sort();
        expected.sort();
        assert_eq!(left, expected, "{:?}", program.processes());
        for child in &children {
            program.go_on();
            program.expect("answer");
            child.signal(Signal::SIGKILL);
            assert!(child.gone_within(at_once()));
        }
        program.nobody_left(at_once());
    });
}

#[test]
fn detached_processes_come_to_be_although_the_program_ends_at_once() {
    on_each(&ALL, |program| {
        for _ in 0..10 {
            let mut program = Program::play(program, &["detached_at_once"]);
            assert_eq!(program.nobody_left(DEADLINE), "here\n".repeat(4));
        }
    });
}

#[test]
fn detached_processes_outlive_a_killed_template() {
    on_each(&ALL, |program| {
        let mut program = Program::play(program, &["detached"]);
        let children = detached(&mut program);
        let templates = children.each_ref().map(|c| Watched::new(parent_of(c.pid()).unwrap()));
        for template in &templates {
            // Some have the same.
            if !template.gone_within(Duration::ZERO) {
                template.signal(Signal::SIGKILL);
            }
            assert!(template.gone_within(at_once()));
        }
        for child in &children {
            program.go_on();
            program.expect("answer");
            child.signal(Signal::SIGKILL);
            assert!(child.gone_within(at_once()));
        }
    });
}

/// A process of a snapshot outlives the program, of which everything else ends.
fn an_heir_has_nothing(scene: &'static [&'static str]) {
    on_each(&ALL, move |program| {
        let mut program = Program::play(program, scene);
        let (mut owners, mut others) = (Vec::new(), Vec::new());
        let heir = loop {
            let line = program.expect("at ");
            let mut words = line.split(' ');
            let name = words.next().expect("a name");
            let process = Watched::new(words.next().expect("a pid").parse().expect("a pid"));
            match name {
                "owner" => owners.push(process),
                "template" => others.push(process),
                _ => break process,
            }
        };
        // The snapshot.
        others.push(Watched::new(parent_of(heir.pid()).expect("it lives")));
        owners.iter().for_each(|process| process.signal(Signal::SIGKILL));
        for process in owners.iter().chain(&others) {
            assert!(process.gone_within(at_once()), "{:?}", program.processes());
        }
        program.go_on();
        program.expect("done");
        program.nobody_left(at_once());
    });
}

#[test]
fn a_process_of_a_snapshot_does_not_inherit_the_programs_templates() {
    an_heir_has_nothing(&["heir"]);
}

#[test]
fn a_process_of_a_forks_snapshot_does_not_inherit_the_programs_templates() {
    an_heir_has_nothing(&["heir", "fork"]);
}

#[test]
fn another_death_signal_is_delivered() {
    on_each(&ALL, |program| {
        for asked_for in ["process", "fork", "fork_of_fork"] {
            let mut played = Program::play(program, &["told", asked_for]);
            at(&mut played, "tells");
            played.kill();
            assert_eq!(played.nobody_left(at_once()), "told 15\n");

            let mut played = Program::play(program, &["told", asked_for]);
            let child = at(&mut played, "tells");
            Watched::new(parent_of(child.pid()).unwrap()).signal(Signal::SIGKILL);
            assert_eq!(played.line(), "told 15");
            played.succeed();
        }
    });
}

#[test]
fn a_template_ends_at_once_when_its_owner_is_killed() {
    each_plays("owner_killed");
}

#[test]
fn a_retired_template_lingers_for_its_children() {
    each_plays("retired");
}

#[test]
fn what_is_dropped_before_run_leaves_nothing() {
    each_plays("dropped");
}

#[test]
fn the_default_template_is_killed() {
    each_plays("template_killed");
}

#[test]
fn the_default_template_is_killed_while_somebody_reads_from_it() {
    each_plays("refused_while_read");
    each_plays("refused_again");
}

#[test]
fn the_default_template_is_killed_during_a_setup() {
    each_plays("template_killed_in_setup");
}

#[test]
fn a_nested_template_is_killed() {
    each_plays("nested_killed");
}

#[test]
fn a_nested_template_is_killed_during_its_setup() {
    each_plays("nested_killed_in_setup");
}

#[test]
fn a_process_that_was_handed_over_is_killed() {
    each_plays("handed_over_killed");
}

#[test]
fn a_re_executed_template_is_killed() {
    each_plays("executed_killed");
}

#[test]
fn a_snapshot_is_killed() {
    each_plays("snapshot_killed");
}

#[test]
fn a_worker_is_killed() {
    each_plays("worker_killed");
}

#[test]
fn a_worker_is_killed_during_its_setup() {
    each_plays("worker_killed_in_setup");
}

#[test]
fn a_death_does_not_kill_a_program_that_does_not_ignore_sigpipe() {
    each_plays("without_ignoring_sigpipe");
}

#[test]
fn the_kernel_tells_what_a_dead_template_cannot() {
    if !offshoot_tests::kernel_is_at_least(6, 15) {
        println!("skipped: before Linux 6.15 the kernel does not tell the status of the reaped");
        return;
    }
    on_each(&ALL, |program| {
        let said = output_of(NO_OPT_IN, &["late_init", program, "status_by_kernel"]);
        assert_eq!(said, "done\n");
    });
}

#[test]
fn what_nobody_can_tell_is_not_waited_for_for_ever() {
    on_each(&[MAIN_CAUGHT], |program| {
        let said = output_of(NO_OPT_IN, &["late_init", program, "never_reaped"]);
        assert_eq!(said, "done\n");
    });
}

#[test]
fn handlers_do_not_disturb_who_waits_for_what_the_kernel_tells() {
    let told = if offshoot_tests::kernel_is_at_least(6, 15) {
        "exit status: 0\n"
    } else {
        "disconnected: true\n"
    };
    on_each(&ALL, move |program| {
        assert_eq!(output_of(NO_OPT_IN, &["init", program, "interrupted"]), told);
    });
}
