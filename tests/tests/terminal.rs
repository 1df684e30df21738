//! Ctrl-C and other signals for a whole group, and what signals an entry sees.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::unistd::Pid;
use offshoot_tests::program::{Program, at_once, on_each};
use offshoot_tests::pty::pty;
use offshoot_tests::{DEADLINE, run_command, within};

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");
const ALL: [&str; 3] = [MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN];

/// Makes the command the leader of a session that has `terminal`, with the signals that a
/// terminal sends at their defaults: whoever runs the tests may ignore some, as nohup does.
#[allow(unsafe_code)]
fn at_terminal(command: &mut Command, terminal: File) {
    use std::os::fd::AsRawFd;
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            for sent in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
                signal(sent, SigHandler::SigDfl)?;
            }
            nix::unistd::setsid()?;
            match libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

/// A key at the terminal, and the signal that it sends to the foreground group.
fn press(key: u8, signal: Signal) {
    on_each(&ALL, move |program| {
        let pty = pty();
        let mut command = Command::new(program);
        command.args(["draining", &(signal as i32).to_string()]);
        at_terminal(&mut command, pty.slave);
        let mut program = Program::start(&mut command);
        drop(command);
        program.expect("at draining");
        (&pty.master).write_all(&[key]).expect("a key");
        program.expect("drained");
        program.succeed();
        program.nobody_left(at_once());
    });
}

#[test]
fn ctrl_c_does_not_take_the_templates_from_a_draining_program() {
    press(3, Signal::SIGINT);
}

#[test]
fn ctrl_backslash_does_not_either() {
    press(28, Signal::SIGQUIT);
}

#[test]
fn nor_do_signals_to_the_whole_group() {
    on_each(&ALL, |program| {
        for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGINT] {
            let mut command = Command::new(program);
            command.args(["draining", &(signal as i32).to_string()]).process_group(0);
            let mut program = Program::start(&mut command);
            program.expect("at draining");
            killpg(Pid::from_raw(program.id() as i32), signal).expect("the group is there");
            program.expect("drained");
            program.succeed();
            program.nobody_left(at_once());
        }
    });
}

#[test]
fn hanging_up_the_terminal_of_a_program_that_dies_of_it_leaves_nothing() {
    on_each(&ALL, |program| {
        let pty = pty();
        let mut command = Command::new(program);
        command.arg("tree");
        at_terminal(&mut command, pty.slave);
        let mut program = Program::start(&mut command);
        drop(command);
        for _ in 0..offshoot_tests::program::TREE {
            program.expect("at ");
        }
        drop(pty.master);
        program.nobody_left(at_once());
    });
}

/// What entries see if the program is started with `before` done.
fn signals_seen(program: &str, before: &str) {
    let script = format!(r#"{before}; exec "$0" signals"#);
    let output = run_command(Command::new("/bin/sh").args(["-c", &script, program]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check_seen(&String::from_utf8_lossy(&output.stdout));
}

/// Signals 32 and 33: the C library keeps them for itself and lets nobody change them,
/// so what the test was started with is what all see.
const OF_LIBC: u64 = 3 << 31;

fn check_seen(said: &str) {
    let mut entries = 0;
    for line in said.lines() {
        if let Some(seen) = line.strip_prefix("seen") {
            // std's own handlers, for stack overflows, belong to a Rust program.
            let seen = seen.replace(" 7:handled", "").replace(" 11:handled", "");
            assert_eq!(seen, " 13:ignored");
            entries += 1;
        }
        // The executed program: nothing at all.
        for set in ["SigBlk:", "SigIgn:", "SigCgt:"] {
            if let Some(set) = line.strip_prefix(set) {
                let set = u64::from_str_radix(set.trim(), 16).expect("a set of signals");
                assert_eq!(set & !OF_LIBC, 0, "{line}");
                entries += 1;
            }
        }
    }
    assert_eq!(entries, 6, "{said}");
}

#[test]
fn entries_see_default_dispositions_and_an_empty_mask() {
    on_each(&ALL, |program| signals_seen(program, ":"));
}

#[test]
fn also_if_the_program_was_started_with_signals_ignored() {
    on_each(&ALL, |program| signals_seen(program, r#"trap "" INT HUP TERM USR1 CHLD PIPE"#));
}

#[test]
#[allow(unsafe_code)]
fn also_if_it_was_started_with_signals_blocked() {
    on_each(&ALL, |program| {
        let mut command = Command::new(program);
        command.arg("signals");
        // SAFETY: between fork and exec one system call is made.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::signal::SigSet::all().thread_set_mask()?));
        }
        let output = run_command(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        check_seen(&String::from_utf8_lossy(&output.stdout));
    });
}

#[test]
fn setup_functions_can_wait_for_other_programs() {
    within(DEADLINE, || {
        for program in ALL {
            let said = offshoot_tests::output_of(program, &["signals_in_setup"]);
            let seen = said.strip_prefix("seen ").expect("it says what it sees");
            assert!(!seen.split_whitespace().any(|s| s.starts_with("17:")), "{said}");
            // Still a template's: what a terminal sends does not end it.
            for signal in [1, 2, 3, 15].map(|n| format!("{n}:")) {
                assert!(seen.split_whitespace().any(|s| s.starts_with(&signal)), "{said}");
            }
        }
    });
}
