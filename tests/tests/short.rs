//! Programs that run out of descriptors or processes, and programs that are started
//! without room for any, with an early template and without.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offshoot_tests::run_command;

const SHORT: &str = env!("CARGO_BIN_EXE_short");

/// What a scenario prints, which has to succeed.
fn said(command: &mut Command) -> String {
    let output = run_command(command);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}

fn on_each_road(mut prepare: impl FnMut(&mut Command)) {
    for early in ["1", "0"] {
        let mut command = Command::new(SHORT);
        prepare(command.env("OFFSHOOT_EARLY", early));
        said(&mut command);
    }
}

/// A user that nobody else is, not even this test in another run.
fn as_nobody_else(command: &mut Command) -> &mut Command {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let user = 200_000 + 16 * (std::process::id() % 1_000_000) + count % 16;
    command.uid(user).gid(user)
}

fn is_root() -> bool {
    let root = nix::unistd::getuid().is_root();
    if !root {
        println!("skipped: only root can become a user without other processes");
    }
    root
}

#[test]
fn a_program_without_room_for_descriptors_says_so_and_goes_on() {
    on_each_road(|command| {
        command.arg("descriptors");
    });
}

#[test]
fn a_program_without_room_for_the_background_thread_says_so_and_goes_on() {
    on_each_road(|command| {
        command.arg("background");
    });
}

#[test]
fn a_user_with_too_many_processes_is_told_so_and_goes_on() {
    if is_root() {
        on_each_road(|command| {
            as_nobody_else(command.arg("processes"));
        });
    }
}

#[test]
fn a_program_that_may_start_no_process_is_told_so_and_goes_on() {
    if is_root() {
        on_each_road(|command| {
            as_nobody_else(command.arg("own_limit"));
        });
    }
}

#[test]
#[allow(unsafe_code)]
fn a_program_that_is_started_at_its_limit_of_processes_says_why_there_is_no_template() {
    if !is_root() {
        return;
    }
    // For neither of the two forks, and for one.
    for most in [1, 2] {
        let mut command = Command::new(SHORT);
        as_nobody_else(command.arg("at_limit"));
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            command.pre_exec(move || {
                let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
                Ok(setrlimit(Resource::RLIMIT_NPROC, most, hard)?)
            });
        }
        let why = std::io::Error::from_raw_os_error(libc::EAGAIN);
        assert_eq!(said(&mut command), format!("ReExec: fork: {why}\n"), "{most}");
    }
}

#[test]
fn a_program_that_is_started_without_room_for_descriptors_says_why_there_is_no_template() {
    let mut command = Command::new("/bin/sh");
    // One is needed to load libraries.
    let start = "exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7<&-
        ulimit -n 8; exec \"$0\" full";
    let why = std::io::Error::from_raw_os_error(libc::EMFILE);
    let said = said(command.args(["-c", start, SHORT]));
    assert_eq!(said, format!("ReExec: {why}\n"));
}

#[test]
fn a_program_whose_file_may_not_be_executed_says_so_and_goes_on() {
    let dir = tempfile::tempdir().expect("there is room");
    let path = dir.path().join("program");
    // By another process: here, a sibling could inherit the file while it is open for
    // writing, and it could not be executed.
    let copied = Command::new("/bin/cp").arg(SHORT).arg(&path).status();
    assert!(copied.expect("it can be started").success());
    let mut command = Command::new(&path);
    said(command.arg("not_executable").arg(&path).env("OFFSHOOT_EARLY", "0"));
}
