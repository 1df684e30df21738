//! What std's start-up, later constructors and the exit do, is done in processes too,
//! wherever their template serves; and mains of all kinds can opt in.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use offshoot_tests::program::{Program, at_once, on_each};
use offshoot_tests::{DEADLINE, output_of, run, run_command, within};

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");
const ALL: [&str; 3] = [MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN];

#[test]
fn start_up_is_complete() {
    // The constructor has run once in each process.
    on_each(&ALL, |program| assert_eq!(output_of(program, &["start_up"]), "1\n"));
}

#[test]
fn a_panic_gives_101_and_its_message() {
    on_each(&ALL, |program| {
        let output = run(program, &["panics"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        assert!(error.contains("panicked at") && error.contains("on purpose"), "{error}");
    });
}

#[test]
fn a_stack_overflow_gives_a_message_and_sigabrt() {
    on_each(&ALL, |program| {
        let output = run(program, &["overflows"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        assert_eq!(error.matches("has overflowed its stack").count(), 2, "{error}");
    });
}

#[test]
fn what_is_printed_without_a_newline_comes_out_once() {
    on_each(&ALL, |program| assert_eq!(output_of(program, &["prints"]), "without a newline"));
}

/// That the texts come out in both ways, each of them once, in whatever order.
fn each_once(output: &str, texts: &[&str]) {
    let both = |text: &&str| [format!("rust {text}"), format!("c {text}")];
    let mut expected: Vec<String> = texts.iter().flat_map(both).collect();
    let mut printed: Vec<&str> = output.trim_end_matches(", ").split(", ").collect();
    expected.sort();
    printed.sort();
    assert_eq!(printed, expected);
}

const FORKS: [&str; 3] = ["fork 0", "fork 1", "fork 2"];

#[test]
fn what_a_setup_function_leaves_in_buffers_comes_out_once() {
    on_each(&ALL, |program| {
        let others = ["setup", "second setup", "before a program", "before a failure"];
        let nested = ["nested fork 0", "nested fork 1", "nested fork 2"];
        let all = [&others[..], &FORKS, &nested].concat();
        each_once(&output_of(program, &["text_of_a_setup"]), &all);
    });
}

#[test]
fn what_was_in_buffers_before_a_snapshot_comes_out_once() {
    on_each(&ALL, |program| {
        let all = [&["program"][..], &FORKS].concat();
        each_once(&output_of(program, &["text_before_a_snapshot"]), &all);
    });
}

/// Constructors of the program run in the template as well, if that was made before, or is
/// the program executed again.
#[test]
fn what_constructors_leave_in_buffers_comes_out_once_where_they_have_run() {
    on_each(&ALL, |program| {
        for early in ["0", "1"] {
            let mut command = Command::new(program);
            command.arg("text_of_constructors").env("LEAVE_TEXT", "1").env("OFFSHOOT_EARLY", early);
            let output = run_command(&mut command);
            assert!(output.status.success(), "{output:?}");
            let mut all =
                [&["constructor", "constructor", "early constructor"][..], &FORKS].concat();
            if early == "0" || program == NO_OPT_IN {
                all.push("early constructor");
            }
            each_once(&String::from_utf8(output.stdout).expect("it is text"), &all);
        }
    });
}

#[test]
fn handlers_of_atexit_run_in_forks_of_what_has_registered_them() {
    on_each(&ALL, |program| {
        // The program's own end is one of them.
        let mut played = Program::play(program, &["handlers"]);
        played.succeed();
        let own = format!("{}\n", played.id());
        assert_eq!(played.nobody_left(at_once()), own);
    });
}

#[test]
fn siblings_have_random_numbers_of_their_own() {
    on_each(&ALL, |program| {
        output_of(program, &["siblings"]);
    });
}

/// Runs the scene with these of 0 to 2 closed; what its process found there.
#[allow(unsafe_code)]
fn with_closed(program: &str, closed: &'static [i32]) -> String {
    let dir = tempfile::tempdir().expect("there is room");
    let file = dir.path().join("said");
    let mut command = Command::new(program);
    command.arg("closed_stdio").arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            for fd in closed {
                libc::close(*fd);
            }
            Ok(())
        });
    }
    let status = command.status().expect("it can be started");
    assert!(status.success(), "{closed:?}: {status}");
    std::fs::read_to_string(file).expect("it was written")
}

#[test]
fn closed_standard_streams_are_opened_again() {
    on_each(&ALL, |program| {
        for closed in [&[0, 1, 2][..], &[0], &[1], &[2], &[0, 2], &[1, 2]] {
            let said = with_closed(program, closed);
            assert_eq!(said, "/dev/null /dev/null /dev/null true\n", "{closed:?}");
        }
    });
}

#[test]
fn a_main_can_return_a_result() {
    within(DEADLINE, || {
        let good = run(env!("CARGO_BIN_EXE_main_with_result"), &["good"]);
        assert_eq!(good.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&good.stdout), "made\n");
        let bad = run(env!("CARGO_BIN_EXE_main_with_result"), &["bad"]);
        assert_eq!(bad.status.code(), Some(1));
        let error = String::from_utf8_lossy(&bad.stderr);
        assert_eq!(error.matches("Error: \"as asked\"").count(), 1, "{error}");
    });
}

#[test]
fn it_goes_with_tokio_on_either_side() {
    on_each(&[env!("CARGO_BIN_EXE_tokio_above"), env!("CARGO_BIN_EXE_tokio_below")], |program| {
        assert_eq!(output_of(program, &[]), "MainCaught 1\nawaited Some(7)\n");
    });
}

/// A test harness lists its tests and ends, and so do its templates.
#[test]
fn a_listing_leaves_nothing() {
    within(DEADLINE, || {
        let own = std::env::current_exe().expect("it is known");
        let mut program = Program::start(Command::new(own).arg("--list"));
        program.succeed();
        let listed = program.nobody_left(at_once());
        assert_eq!(listed.matches("a_listing_leaves_nothing: test").count(), 1, "{listed}");
    });
}

/// As in a program of several doc tests: nobody would catch a template at such a `main`.
#[test]
fn a_main_in_a_module_is_no_opt_in() {
    within(DEADLINE, || {
        let mut program = Program::start(&mut Command::new(env!("CARGO_BIN_EXE_main_in_module")));
        program.succeed();
        assert_eq!(program.nobody_left(at_once()), "main, ReExec\nexample\n");
    });
}

// So that there is a template in that.
offshoot::early!();

#[test]
fn this_harness_has_an_early_template() {
    assert_eq!(offshoot::doctor().road, offshoot::Road::HookServed);
}
