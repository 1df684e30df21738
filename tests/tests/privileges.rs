//! Never more privileged than the one who asks.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::{Gid, geteuid, setgroups};
use offshoot_tests::program::{Program, at_once, on_each};

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");

/// Plays a scene as root with two supplementary groups, if that can be had; `stays` of
/// its processes are there in the end, to die with it.
#[allow(unsafe_code)]
fn as_root(scene: &'static str, stays: usize) {
    if !geteuid().is_root() {
        println!("skipped: only root can drop its privileges");
        return;
    }
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], move |program| {
        let mut command = Command::new(program);
        // SAFETY: between fork and exec one system call is made.
        unsafe {
            command.arg(scene).pre_exec(|| Ok(setgroups(&[Gid::from_raw(4), Gid::from_raw(20)])?));
        }
        let mut program = Program::start(&mut command);
        for _ in 0..stays {
            program.expect("at stay");
        }
        match stays {
            0 => program.succeed(),
            _ => program.kill(),
        }
        program.nobody_left(at_once());
    });
}

#[test]
fn after_a_drop_all_processes_are_the_users() {
    as_root("dropped_root", 2);
}

#[test]
fn named_entries_alone_keep_privileges() {
    as_root("named", 0);
}

#[test]
fn root_makes_processes_of_others() {
    as_root("configured", 3);
}

#[test]
fn a_template_of_an_ordinary_user_refuses_others() {
    as_root("strangers", 0);
}

#[test]
fn a_process_of_another_user_may_be_beyond_signals() {
    as_root("beyond_signals", 0);
}
