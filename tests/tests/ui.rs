//! What does not compile, and what the compiler then says (`ui/`).

use std::process::Command;

use offshoot_tests::{DEADLINE, within};

/// The release whose words are in `ui/types/*.stderr`.
const WORDED_BY: &str = "rustc 1.95.";

fn worded_by_this_compiler() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("there is a compiler");
    String::from_utf8_lossy(&version.stdout).starts_with(WORDED_BY)
}

#[test]
fn compile_errors() {
    // The first time it compiles the dependencies once more.
    within(15 * DEADLINE, check);
}

fn check() {
    let cases = trybuild::TestCases::new();
    // Our own words: the same with every compiler.
    cases.compile_fail("ui/fail/*.rs");
    cases.pass("ui/pass/*.rs");
    // Types that do not fit are for the compiler to explain, and each explains
    // differently.
    if worded_by_this_compiler() {
        cases.compile_fail("ui/types/*.rs");
    } else {
        println!("skipped: the errors in ui/types are in the words of {WORDED_BY}x");
    }
}
