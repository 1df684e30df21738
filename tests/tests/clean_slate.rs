//! Processes begin as the program was started, whatever it has changed since.

use std::process::Command;

use offshoot_tests::program::on_each;
use offshoot_tests::report::Report;
use offshoot_tests::{DEADLINE, output_of, run_command, within};

const SLATE: &str = env!("CARGO_BIN_EXE_slate");

fn report(scenario: &str, early: bool) -> Report {
    Report::parse(&said(scenario, early))
}

fn said(scenario: &str, early: bool) -> String {
    let mut command = Command::new(SLATE);
    command.arg(scenario).args(["with", "further arguments"]).current_dir("/usr");
    command.env("SLATE", "start").env("SLATE_GONE", "there").env_remove("OFFSHOOT_TEMPLATE");
    command.env("OFFSHOOT_EARLY", if early { "1" } else { "0" });
    let output = run_command(&mut command);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn arguments(scenario: &str) -> String {
    format!("{:?}", [SLATE, scenario, "with", "further arguments"])
}

#[test]
fn a_process_has_the_settings_of_the_start() {
    within(DEADLINE, || {
        for early in [true, false] {
            let r = report("as started", early);
            assert_eq!(r.env("SLATE"), Some("start"), "early: {early}");
            assert_eq!(r.env("SLATE_GONE"), Some("there"));
            assert_eq!(r.env("SLATE_NEW"), None);
            assert_eq!(r.env("OFFSHOOT_TEMPLATE"), None);
            assert_eq!(r.get("directory"), "/usr");
            assert_eq!(r.get("Umask"), own("Umask"));
            // To lower it again would take privileges.
            assert_eq!(r.get("nice"), nice(if early { 0 } else { 3 }));
            let own = of_this_process();
            assert_eq!(r.limits(), own.limits());
            assert_eq!(r.limits().len(), 16);
            assert_eq!(r.get("arguments"), arguments("as started"));
        }
    });
}

#[test]
fn a_process_like_its_parent_has_the_settings_of_now() {
    within(DEADLINE, || {
        for early in [true, false] {
            let r = report("like parent", early);
            assert_eq!(r.env("SLATE"), Some("changed"), "early: {early}");
            assert_eq!(r.env("SLATE_GONE"), None);
            assert_eq!(r.env("SLATE_NEW"), Some("new"));
            assert_eq!(r.get("directory"), "/");
            assert_eq!(r.get("Umask"), "0077");
            assert_eq!(r.get("nice"), nice(3));
            assert!(r.get("Max open files").starts_with("77 "), "{r:?}");
            let own = of_this_process();
            let own = own.limits();
            // Not those of which nobody may have anything: real-time priority, say.
            let same: Vec<_> = r.limits().into_iter().filter(|(k, v)| own[k] == *v).collect();
            assert!(same.iter().all(|(_, v)| v.starts_with("0 ")), "{same:?}");
            assert_eq!(r.fds(), [0, 1, 2, r.fds()[3]], "and the stream, but no directory");
        }
    });
}

#[test]
fn a_process_is_like_its_parent_in_a_directory_that_is_gone() {
    within(DEADLINE, || {
        for early in [true, false] {
            let r = report("like parent in a removed directory", early);
            // It has no name any more.
            assert_eq!(r.get("directory"), "?", "early: {early}");
            assert_eq!(r.env("SLATE"), Some("changed"));
        }
    });
}

#[test]
fn what_a_parent_cannot_find_out_of_itself_comes_out_at_run() {
    within(DEADLINE, || {
        for early in [true, false] {
            let said = said("like parent without descriptors", early);
            let emfile = std::io::Error::from_raw_os_error(libc::EMFILE);
            assert_eq!(said, format!("looking up this program's own settings: {emfile}\n"));
        }
    });
}

/// Long arguments make room for what is shown.
#[test]
fn titles_name_what_a_process_is_and_whose() {
    let programs = [
        env!("CARGO_BIN_EXE_main_caught"),
        env!("CARGO_BIN_EXE_hook_served"),
        env!("CARGO_BIN_EXE_no_opt_in"),
    ];
    on_each(&programs, |program| {
        output_of(program, &["titles", &"x".repeat(200)]);
    });
}

#[test]
fn a_title_leaves_the_arguments_as_they_are() {
    within(DEADLINE, || {
        for early in [true, false] {
            let r = report("as titled", early);
            assert_eq!(r.get("title"), "a title of its own", "early: {early}");
            assert_eq!(r.get("arguments"), arguments("as titled"));
        }
    });
}

/// So much nicer than this process, as far as it goes.
fn nice(more: i32) -> String {
    let nice: i32 = own("nice").parse().unwrap();
    (nice + more).min(19).to_string()
}

fn own(key: &str) -> String {
    of_this_process().get(key).to_owned()
}

fn of_this_process() -> Report {
    Report::parse(&offshoot_tests::report::of_this_process())
}
