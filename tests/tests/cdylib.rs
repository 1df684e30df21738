//! A shared library that links us, loaded by a program that knows nothing of us:
//! nothing happens when it is loaded, its calls are refused, and the program goes on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use offshoot_tests::run_command;

/// Prints, before and after loading the library and calling into it, what loading
/// could have changed: threads, children, descriptors, signals, the environment.
const PROGRAM: &str = r#"
import ctypes, os, signal, subprocess, sys

def look(when):
    tasks = os.listdir("/proc/self/task")
    children = [open(f"/proc/self/task/{t}/children").read() for t in tasks]
    fds = sorted(f for f in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{f}"))
    status = [l.strip() for l in open("/proc/self/status") if l[:6] in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")]
    print(f"{when}={[len(tasks), children, fds, status, os.environ.get('OFFSHOOT_TEMPLATE')]}")

look("before")
library = ctypes.CDLL(sys.argv[1])
look("loaded")
library.offshoot_cdylib_try.restype = ctypes.c_char_p
for line in library.offshoot_cdylib_try().decode().splitlines():
    print("said=" + line)
look("called")
print("after=" + subprocess.run(["echo", "still here"], stdout=subprocess.PIPE).stdout.decode().strip())
"#;

/// Beside the tests: cargo builds it as one of their dependencies.
fn library() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("liboffshoot_cdylib.so");
    assert!(path.exists(), "{} has not been built", path.display());
    path
}

fn python(environment: &[(&str, &str)]) -> Option<Output> {
    let found = Command::new("python3").arg("-c").arg("import ctypes").output();
    if !found.is_ok_and(|o| o.status.success()) {
        println!("skipped: there is no python3 with ctypes");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg("-c").arg(PROGRAM).arg(library()).envs(environment.iter().copied());
    Some(run_command(&mut command))
}

fn check(output: &Output) {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert_eq!(err, "", "the library has said something");
    let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in out.lines().filter_map(|l| l.split_once('=')) {
        told.entry(key).or_default().push(value);
    }
    // All of it once: a second python would have said it again.
    for key in ["before", "loaded", "called", "after"] {
        assert_eq!(told[key].len(), 1, "{out}");
    }
    assert_eq!(told["loaded"], told["before"]);
    assert_eq!(told["called"], told["before"]);
    assert_eq!(told["after"], ["still here"]);
    let said = &told["said"];
    assert_eq!(said.len(), 4, "{out}");
    for (line, what) in said.iter().zip(["new", "new_exec", "snapshot"]) {
        assert!(line.starts_with(&format!("{what}: unsupported=true ")), "{line}");
        assert!(line.contains("shared library"), "{line}");
    }
    assert_eq!(said[3], "road: None");
}

#[test]
fn nothing_happens_in_somebody_elses_program() {
    if let Some(output) = python(&[]) {
        check(&output);
    }
}

#[test]
fn variables_that_speak_to_programs_say_nothing_to_a_library() {
    // The marker of a re-executed template would end a program that finds it.
    let environment = [("OFFSHOOT_LOG", "1"), ("OFFSHOOT_TEMPLATE", "3:0123456789abcdef")];
    let Some(output) = python(&environment) else { return };
    check(&output);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("'3:0123456789abcdef'"), "it is not ours to remove: {out}");
}
