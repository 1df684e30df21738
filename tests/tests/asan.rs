//! With the address sanitizer: its runtime starts before our constructor, and looks
//! for leaks whenever a process exits.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use offshoot_tests::{DEADLINE, run_command, run_command_within};

/// The programs are compiled with everything that they depend on.
const COMPILING: Duration = DEADLINE.saturating_mul(15);

fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Whether the toolchain came with the sanitizer's runtime.
fn has_runtime() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    let output = run_command(command.args(["--print=target-libdir", "--target", &target()]));
    let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Path::new(&directory).read_dir().is_ok_and(|mut files| {
        files.any(|f| f.is_ok_and(|f| f.file_name().to_string_lossy().contains("_rt.asan.")))
    })
}

/// Compiles the programs once for all tests of this process; tells where they are.
fn programs() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if !has_runtime() {
            println!("skipped: this toolchain has no runtime of the address sanitizer");
            return None;
        }
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("asan");
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--package=offshoot-tests", "--target", &target()])
            .args(["--bin=instrumented", "--bin=instrumented_early", "--target-dir"])
            .arg(&directory)
            // The sanitizers are not a stable option of the compiler yet.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Zsanitizer=address")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        let output = run_command_within(COMPILING, &mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(directory.join(target()).join("debug"))
    });
    built.as_deref()
}

fn check(program: &str, early: &str, road: &str) {
    let Some(directory) = programs() else { return };
    let mut command = Command::new(directory.join(program));
    command.env("OFFSHOOT_EARLY", early);
    let output = run_command(&mut command);
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.ends_with(&format!("road: {road}\ndone\n")), "{out}\n{err}");
    // All processes have this stderr, and its end is waited for.
    assert_eq!(err, "Error: \"as told\"\n");
}

#[test]
fn a_template_caught_at_main() {
    check("instrumented", "1", "MainCaught");
}

#[test]
fn a_template_that_serves_from_the_constructor() {
    check("instrumented_early", "1", "HookServed");
}

#[test]
fn a_re_executed_template() {
    check("instrumented", "0", "ReExec");
}

#[test]
fn a_re_executed_template_that_serves_from_the_constructor() {
    check("instrumented_early", "0", "ReExec");
}
