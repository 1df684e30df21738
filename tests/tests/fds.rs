//! A worker holds 0, 1, 2, its stream and what was sent to it, and nothing else: on
//! every road, and however the program was started.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Command;

use offshoot_tests::lacking::{BOTH, Lacking, can_be_played};
use offshoot_tests::proc::inheritable;
use offshoot_tests::{open_fds, run_command};

const MAIN: &str = env!("CARGO_BIN_EXE_fds_main");
const EARLY: &str = env!("CARGO_BIN_EXE_fds_early");
const PLAIN: &str = env!("CARGO_BIN_EXE_fds_plain");

/// Redirections of the shell that starts the program: which of 0 to 2 are closed,
/// and what is open besides.
const STARTS: [(&[usize], &str); 11] = [
    (&[], ""),
    (&[0], ""),
    (&[1], ""),
    (&[2], ""),
    (&[0, 1], ""),
    (&[0, 2], ""),
    (&[1, 2], ""),
    (&[0, 1, 2], ""),
    (&[], "7</dev/full 9<>/dev/full"),
    (&[], "3</dev/full 4</dev/full 5</dev/full 6</dev/full"),
    (&[0, 1, 2], "3</dev/full 7</dev/full 9<>/dev/full"),
];

struct Ran {
    report: String,
    /// Files that 0 to 2 are.
    std: [String; 3],
    printed: [String; 2],
}

/// Runs a scenario of a program that is started by a shell with these redirections.
fn run(
    program: &str,
    scenario: &str,
    early: bool,
    (closed, open): (&[usize], &str),
    lacking: Option<Lacking>,
) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    // As the kernel names it: /tmp may be a link.
    let path = |name: &str| {
        let dir = dir.path().canonicalize().unwrap();
        dir.join(name).to_str().unwrap().to_owned()
    };
    let std = [path("in"), path("out"), path("err")];
    std.iter().for_each(|p| drop(File::create(p).unwrap()));
    let redirect = |n: usize| match (closed.contains(&n), n) {
        (true, _) => format!("{n}<&-"),
        (false, 0) => format!("0<{}", std[0]),
        (false, n) => format!("{n}>>{}", std[n]),
    };
    let script =
        format!("exec {} {open} {} {}; exec \"$0\" \"$@\"", redirect(0), redirect(1), redirect(2));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, program, &path("report"), scenario]);
    command.env("OFFSHOOT_EARLY", if early { "1" } else { "0" });
    if let Some(lacking) = lacking {
        lacking.place(&mut command);
    }
    let output = run_command(&mut command);
    let read = |name: &str| fs::read_to_string(name).unwrap_or_default();
    let ran = Ran { report: read(&path("report")), printed: [read(&std[1]), read(&std[2])], std };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}\n{said}\n{}", output.status, ran.printed[1]);
    ran
}

/// Checks what all processes of a program have reported, for all starts.
fn exact(program: &str, early: bool) {
    STARTS.iter().for_each(|start| exact_from(program, early, *start, None));
}

fn exact_from(
    program: &str,
    early: bool,
    (closed, open): (&[usize], &str),
    lacking: Option<Lacking>,
) {
    let ran = run(program, "all", early, (closed, open), lacking);
    let std = [0, 1, 2].map(|n| match closed.contains(&n) {
        true => "/dev/null",
        false => &ran.std[n],
    });
    let std = std.join(",");
    let (others, workers): (Vec<_>, Vec<_>) =
        ran.report.lines().partition(|l| l.starts_with(char::is_alphabetic));
    assert_eq!(workers.len(), 3 * 48 + 6, "{}", ran.report);
    for line in &workers {
        let sent = &line[..1];
        let right = format!("sent={sent} extra=[] missing=[] inheritable=[] std={std}");
        assert!(line.ends_with(&right), "closed {closed:?}, open {open:?}: {line}");
    }
    // What a template reads the ends of children from, what stands for the program, its
    // control socket, and what waits there for the forks.
    let known = lacking.is_none() && offshoot::doctor().pidfd;
    let own = if known { "anon_inode:[signalfd] pidfd" } else { "anon_inode:[signalfd]" };
    assert_eq!(
        others,
        [
            "executed 0 1 2 3 4 ".to_owned(),
            format!("template {own} socket"),
            format!("template with one queued /dev/zero {own} socket")
        ],
        "closed {closed:?}, open {open:?}"
    );
    // What workers and setup functions print lands where it should, and nowhere else.
    let noise = |printed: &str| printed.matches("printed by a worker").count();
    let setups = 4;
    let expected = workers.len() + 2 + setups;
    let counts = [noise(&ran.printed[0]), noise(&ran.printed[1])];
    let open = |n: usize| usize::from(!closed.contains(&n));
    assert_eq!(counts, [(expected + 1) * open(1), expected * open(2)], "closed {closed:?}");
}

#[test]
fn exact_in_a_program_whose_template_is_caught_at_main() {
    exact(MAIN, true);
}

#[test]
fn exact_in_a_program_whose_template_serves_from_the_constructor() {
    exact(EARLY, true);
}

#[test]
fn exact_in_a_program_that_has_not_opted_in() {
    exact(PLAIN, true);
}

#[test]
fn exact_where_the_early_template_is_switched_off() {
    exact(MAIN, false);
    exact(EARLY, false);
}

#[test]
fn exact_where_no_range_can_be_closed_at_once() {
    if !can_be_played() {
        return;
    }
    for (program, early) in [(MAIN, true), (EARLY, true), (PLAIN, true), (MAIN, false)] {
        for lacking in BOTH {
            for start in STARTS.iter().filter(|(_, open)| !open.is_empty()) {
                exact_from(program, early, *start, Some(lacking));
            }
        }
    }
}

#[test]
fn no_program_that_the_parent_executes_inherits_a_socket() {
    for (program, early) in [(MAIN, true), (EARLY, true), (PLAIN, true), (MAIN, false)] {
        for (closed, open, more) in [(&[][..], "", &[][..]), (&[0, 1, 2], "7</dev/full", &[7])] {
            let ran = run(program, "inheritable", early, (closed, open), None);
            // What whoever runs this test has left to it goes on to all it starts.
            let inherited = open_fds().into_iter().filter(|fd| inheritable(*fd));
            let expected: BTreeSet<i32> = inherited.chain(0..3).chain(more.to_owned()).collect();
            assert_eq!(ran.report, format!("{expected:?}"), "{program}, early: {early}");
        }
    }
}
