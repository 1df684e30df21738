//! Whoever reads what a program writes is not kept by the templates of the daemon that it
//! becomes: `out=$(daemon)` returns. And the daemon's workers write where it writes.

use std::fs::{File, OpenOptions, read_to_string};
use std::io::{BufRead, BufReader, Read, Write};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use offshoot_tests::program::{Program, on_each};
use offshoot_tests::{DEADLINE, eventually};
use tempfile::TempDir;

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");
const ALL: [&str; 3] = [MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN];

struct Daemon {
    program: Program,
    dir: TempDir,
    leash: File,
    /// What it writes to, if it has left what it was started with.
    log: Option<BufReader<File>>,
}

impl Daemon {
    fn start(program: &str, mode: &str, leaves: bool) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        for name in ["leash", "log"] {
            mkfifo(&dir.path().join(name), Mode::S_IRWXU).unwrap();
        }
        let path = dir.path().to_str().unwrap();
        let program = Program::play(program, &["daemon_streams", mode, path]);
        // Each opens when the daemon opens it as well.
        let log = leaves.then(|| BufReader::new(File::open(dir.path().join("log")).unwrap()));
        let leash = OpenOptions::new().write(true).open(dir.path().join("leash")).unwrap();
        Daemon { program, dir, leash, log }
    }

    /// Has it run its workers.
    fn work(&mut self) {
        self.leash.write_all(b"go\n").unwrap();
    }

    fn expect_in_log(&mut self, names: &[&str]) {
        for name in names {
            let mut line = String::new();
            self.log.as_mut().unwrap().read_line(&mut line).unwrap();
            assert_eq!(line.trim_end(), *name);
        }
    }

    fn end(self) {
        let Daemon { program, leash, log, .. } = self;
        drop(leash);
        if let Some(mut log) = log {
            let mut rest = String::new();
            log.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "");
        }
        eventually(DEADLINE, "nobody is left", || program.pids().is_empty());
    }
}

#[test]
fn a_daemon_that_makes_no_processes_keeps_nobody_waiting() {
    on_each(&ALL, |program| {
        let mut daemon = Daemon::start(program, "unused", true);
        assert_eq!(daemon.program.output_ends(), "");
        daemon.end();
    });
}

#[test]
fn the_early_template_of_a_daemon_writes_where_the_daemon_does() {
    on_each(&ALL, |program| {
        let mut daemon = Daemon::start(program, "late", true);
        daemon.work();
        daemon.expect_in_log(&["default"]);
        assert_eq!(daemon.program.output_ends(), "");
        daemon.work();
        daemon.expect_in_log(&["default"]);
        daemon.end();
    });
}

#[test]
fn templates_of_a_daemon_write_where_it_does_unless_they_were_given_their_own() {
    on_each(&ALL, |program| {
        let mut daemon = Daemon::start(program, "before", true);
        // While nobody uses them.
        assert_eq!(daemon.program.output_ends(), "");
        daemon.work();
        daemon.expect_in_log(&["plain", "default"]);
        for name in ["given", "set"] {
            let said = read_to_string(daemon.dir.path().join(name)).unwrap();
            assert_eq!(said, format!("{name}\n"));
        }
        daemon.end();
    });
}

#[test]
fn a_daemon_that_keeps_its_output_has_it_in_its_workers() {
    on_each(&ALL, |program| {
        let mut daemon = Daemon::start(program, "stays", false);
        daemon.work();
        assert_eq!(daemon.program.line(), "default");
        daemon.end();
    });
}

#[test]
fn so_has_one_that_has_become_another_user() {
    if !nix::unistd::getuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    on_each(&[MAIN_CAUGHT, HOOK_SERVED], |program| {
        let mut daemon = Daemon::start(program, "drops", false);
        daemon.work();
        assert_eq!(daemon.program.line(), "default");
        daemon.end();
    });
}

#[test]
fn what_was_privileged_does_not_write_where_one_without_privileges_says() {
    if !nix::unistd::getuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    on_each(&[MAIN_CAUGHT, HOOK_SERVED], |program| {
        let mut daemon = Daemon::start(program, "leaves_and_drops", true);
        daemon.work();
        daemon.expect_in_log(&["done"]);
        assert_eq!(daemon.program.output_ends(), "");
        daemon.end();
    });
}
