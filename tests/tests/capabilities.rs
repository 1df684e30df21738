//! Processes of a program that has become another user do not have the capabilities that
//! it was started with, where these do not go with the user by themselves.

use std::process::Command;

use nix::unistd::geteuid;
use offshoot_tests::program::{copy_for_all, on_each};
use offshoot_tests::run_command;

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");

/// Plays the scene in programs that `setpriv` (util-linux) starts with these options.
fn given_up(options: &'static [&'static str]) {
    let start = move |program: &str, scene: &str| {
        let mut command = Command::new("setpriv");
        command.args(options).args([program, scene]);
        command
    };
    if !geteuid().is_root() {
        return println!("skipped: only root can give capabilities");
    }
    if !start("/bin/true", "").output().is_ok_and(|o| o.status.success()) {
        return println!("skipped: there is no setpriv that knows {options:?}");
    }
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], move |program| {
        let (_dir, copy) = copy_for_all(program);
        let output = run_command(&mut start(&copy, "gives_up_capabilities"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {error}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "given up\n", "{program}");
    });
}

/// As a service manager does it, for a service of an ordinary user.
#[test]
fn ambient_capabilities_are_given_up_in_processes() {
    given_up(&[
        "--reuid=4713",
        "--regid=4713",
        "--clear-groups",
        "--inh-caps=+setuid,+setgid,+net_bind_service",
        "--ambient-caps=+setuid,+setgid,+net_bind_service",
    ]);
}

/// Root that keeps its capabilities when it becomes somebody else.
#[test]
fn capabilities_that_outlive_the_change_of_the_user_are_given_up_in_processes() {
    given_up(&["--securebits=+no_setuid_fixup"]);
}
