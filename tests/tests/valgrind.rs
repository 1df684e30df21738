//! Under valgrind: no invalid access and no leak in any process, on every road; and
//! no clone3 and no pidfd_open, which valgrind 3.19 does not know, so that what is
//! done without them is seen to work.

use std::path::Path;
use std::process::Command;

use offshoot_tests::{DEADLINE, run_command_within};

/// One process after the other becomes slow.
const LIMIT: std::time::Duration = DEADLINE.saturating_mul(5);

fn check(program: &str, early: &str, road: &str) {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: valgrind is not installed");
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let mut command = Command::new("valgrind");
    command
        .args(["--trace-children=yes", "--leak-check=full", "--errors-for-leak-kinds=definite"])
        .args(["--error-exitcode=99", "--num-callers=30"])
        .arg(format!("--log-file={}/%p", logs.path().display()))
        .arg(program)
        .env("OFFSHOOT_EARLY", early);
    // Its output ends when the last process that holds it, the template, has ended:
    // then all logs are written.
    let output = run_command_within(LIMIT, &mut command);
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    let logs = Logs::read(logs.path());
    assert!(output.status.success(), "{}\n{out}\n{err}\n{}", output.status, logs.with_errors());
    assert!(out.ends_with(&format!("road: {road}\ndone\n")), "{out}");
    assert_eq!(logs.with_errors(), "");
    // Main, template, the one between them, workers: and each was watched. One was
    // killed, so it could not say how it had gone.
    assert!(logs.0.len() > 20, "{} processes were watched", logs.0.len());
    assert_eq!(logs.0.iter().filter(|l| !l.contains(SUMMARY)).count(), 1);
}

const SUMMARY: &str = "ERROR SUMMARY: ";

struct Logs(Vec<String>);

impl Logs {
    fn read(directory: &Path) -> Logs {
        let files = directory.read_dir().unwrap();
        Logs(files.map(|f| std::fs::read_to_string(f.unwrap().path()).unwrap()).collect())
    }

    fn with_errors(&self) -> String {
        let clean = |log: &&String| {
            let mut said = log.lines().filter_map(|l| l.split_once(SUMMARY));
            said.all(|(_, said)| said.starts_with("0 errors "))
        };
        self.0.iter().filter(|l| !clean(l)).cloned().collect()
    }
}

#[test]
fn a_template_caught_at_main() {
    check(env!("CARGO_BIN_EXE_instrumented"), "1", "MainCaught");
}

#[test]
fn a_template_that_serves_from_the_constructor() {
    check(env!("CARGO_BIN_EXE_instrumented_early"), "1", "HookServed");
}

#[test]
fn a_re_executed_template() {
    check(env!("CARGO_BIN_EXE_instrumented"), "0", "ReExec");
}

#[test]
fn a_re_executed_template_that_serves_from_the_constructor() {
    check(env!("CARGO_BIN_EXE_instrumented_early"), "0", "ReExec");
}
