//! Where the built examples are, and how to run one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Once;

use offshoot_tests::run_command;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The program of an example. `cargo test --workspace` has built it, beside this test.
pub(crate) fn example(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    let this = std::env::current_exe().unwrap();
    let profile = this.parent().and_then(Path::parent).expect("it is in PROFILE/deps");
    let program = profile.join("examples").join(name);
    if !program.exists() {
        BUILT.call_once(|| build(profile));
    }
    assert!(program.exists(), "cargo has not built {}", program.display());
    program
}

fn build(profile: &Path) {
    let name = |dir: &Path| dir.file_name().unwrap().to_str().unwrap().to_owned();
    let mut target_dir = profile.parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--package", "offshoot", "--examples", "--all-features"])
        .current_dir(root());
    cargo.args(["--profile", &name(profile).replace("debug", "dev")]);
    let triple = name(target_dir);
    if triple.contains("-linux-") {
        target_dir = target_dir.parent().unwrap();
        cargo.args(["--target", &triple]);
    }
    // Not within a deadline: it takes as long as it takes.
    let status = cargo.arg("--target-dir").arg(target_dir).status().unwrap();
    assert!(status.success(), "cargo build --examples: {status}");
}

/// What an example prints, if it succeeds and has no complaints.
pub(crate) fn output_of(name: &str) -> String {
    let output = run_command(&mut Command::new(example(name)));
    let text = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{text}\n{complaints}", output.status);
    assert_eq!(complaints, "", "{name}");
    text
}

/// A program that is ended if the test fails.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
