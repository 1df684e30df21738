//! What a chapter says is shown by a test or an example is there, and what it shows of one
//! is that.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The file of a test by its full name, `FILE::NAME` or `FILE::MODULE::NAME`.
fn file_of(modules: &[&str]) -> PathBuf {
    let tests = root().join("tests/tests");
    match modules {
        [file] => {
            let alone = tests.join(format!("{file}.rs"));
            if alone.exists() { alone } else { tests.join(file).join("main.rs") }
        }
        [dir, module] => tests.join(dir).join(format!("{module}.rs")),
        other => panic!("{other:?} is no test"),
    }
}

fn is_test(name: &str) -> bool {
    let mut modules: Vec<_> = name.split("::").collect();
    let function = modules.pop().unwrap();
    let text = fs::read_to_string(file_of(&modules)).unwrap_or_default();
    // There may be other attributes between.
    let before = text.split_once(&format!("\nfn {function}() {{"));
    before
        .and_then(|(before, _)| before.rsplit_once("\n\n"))
        .is_some_and(|(_, own)| own.contains("#[test]"))
}

#[test]
fn each_test_and_example_that_the_manuals_are_mapped_to_exists() {
    let chapter = fs::read_to_string(root().join("docs/from-perl.md")).unwrap();
    let mut seen = 0;
    for row in chapter.lines().filter(|line| line.starts_with("| ")) {
        let shown = row.trim_end_matches(" |").rsplit_once("| ").unwrap().1;
        for name in shown.split('`').skip(1).step_by(2) {
            let found = match name {
                file if file.contains('/') => root().join(file).exists(),
                test => is_test(test),
            };
            assert!(found, "{name}, in: {row}");
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} names are there");
}

#[test]
fn the_first_program_of_the_readme_is_the_example() {
    // Line by line: the example may have room between them, and begins with what it is.
    let lines = |text: &str| -> Vec<String> {
        let kept = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("//!"));
        kept.map(str::to_owned).collect()
    };
    let example = fs::read_to_string(root().join("examples/hello.rs")).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, first) = readme.split_once("```rust\n").unwrap();
    let (first, _) = first.split_once("```\n").unwrap();
    assert_eq!(lines(first), lines(&example));
    assert!(lines(first).len() > 10, "{first}");
}
