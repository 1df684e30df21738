//! Environments that no shell would make, and variables that speak to the library.

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use offshoot_tests::proc::{huge_pages_refused, is_collapsed};
use offshoot_tests::program::on_each;
use offshoot_tests::run_command;

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");
const ALL: [&str; 3] = [MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN];

/// Executes the program with exactly these strings as its environment.
#[allow(unsafe_code)]
fn with_strings(program: &str, scene: &str, strings: Vec<CString>) -> Command {
    let args = [program, scene].map(|a| CString::new(a).expect("it has no NUL"));
    let list = |all: &[CString]| -> Vec<usize> {
        all.iter().map(|s| s.as_ptr() as usize).chain([0]).collect()
    };
    let (argv, envp) = (list(&args), list(&strings));
    let mut command = Command::new(program);
    // SAFETY: between fork and exec one system call is made, with two arrays of strings
    // that end with a null, all of which this closure owns.
    unsafe {
        command.pre_exec(move || {
            let _kept = &strings;
            libc::execve(args[0].as_ptr(), argv.as_ptr().cast(), envp.as_ptr().cast());
            Err(std::io::Error::last_os_error())
        });
    }
    command
}

#[test]
fn processes_have_the_environment_of_the_start_however_odd_it_is() {
    on_each(&ALL, |program| {
        let long = [b"LONG=".as_slice(), &[b'x'; 100_000]].concat();
        let odd: [&[u8]; 14] = [
            b"",
            b"=without a name",
            b"WITHOUT_A_VALUE",
            b"TWICE=1",
            b"TWICE=2",
            b"NO_TEXT=\xff\xfe",
            b"\xff\xfe=no text",
            &long,
            // Almost the marker.
            b"OFFSHOOT_TEMPLATE",
            b"OFFSHOOT_TEMPLATES=3:0000000000000000",
            b"OFFSHOOT_EARLY=\xff",
            b"OFFSHOOT_LOG=2",
            b"OFFSHOOT_HUGE_PAGES=",
            b"",
        ];
        let strings = |first: &[&[u8]]| -> Vec<CString> {
            first.iter().chain(&odd).map(|s| CString::new(*s).expect("it has no NUL")).collect()
        };
        for first in [&[][..], &[b"OFFSHOOT_EARLY=0".as_slice()]] {
            let strings = strings(first);
            let all: Vec<u8> =
                strings.iter().flat_map(|s| s.as_bytes_with_nul()).copied().collect();
            let output = run_command(&mut with_strings(program, "environment", strings));
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {error}", output.status);
            assert_eq!(error, "");
            assert!(output.stdout == [&all[..], &all].concat(), "{}", {
                String::from_utf8_lossy(&output.stdout).replace('\0', "\n")
            });
        }
    });
}

#[test]
fn huge_pages_can_be_switched_off_for_a_program() {
    on_each(&ALL, |program| {
        let pages = |switch: &[(&str, &str)]| {
            let mut command = Command::new(program);
            let output = run_command(command.arg("preloaded").envs(switch.iter().copied()));
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
        };
        let refused = huge_pages_refused();
        match pages(&[]).as_str() {
            "none here" => return println!("skipped: this kernel has no MADV_COLLAPSE"),
            on if !is_collapsed(on.parse().expect("a number"), 64, refused) => return,
            _ => {}
        }
        let policy = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        if policy.is_ok_and(|p| !p.contains("[always]")) {
            assert_eq!(pages(&[("OFFSHOOT_HUGE_PAGES", "0")]), "0");
        }
    });
}
