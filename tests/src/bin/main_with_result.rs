//! A main that returns a Result, in a binary that has unit tests.

use offshoot::{Process, Start};

#[offshoot::entry]
fn nothing(_start: Start) {}

#[offshoot::main]
fn main() -> Result<(), String> {
    let child = Process::new().and_then(|p| p.run(nothing)).map_err(|e| e.to_string())?;
    child.wait().map_err(|e| e.to_string())?;
    match std::env::args().nth(1).as_deref() {
        Some("good") => {
            println!("made");
            Ok(())
        }
        _ => Err("as asked".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    const FILE: &str = "OFFSHOOT_TESTS_COUNTED";

    /// Leaves a line in the file that the other test names.
    #[test]
    fn counted() {
        let Some(file) = std::env::var_os(FILE) else { return };
        let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(b"counted\n").unwrap();
        // Processes can be made in here, though the program has not opted in.
        assert_eq!(offshoot::doctor().road, offshoot::Road::ReExec);
        let child = Process::new().unwrap().run(nothing).unwrap();
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_template_does_not_run_the_tests() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let own = std::env::current_exe().unwrap();
        let output = Command::new(own)
            .args(["--exact", "tests::counted", "--nocapture"])
            .env(FILE, file.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "counted\n");
        assert_eq!(said.matches("test result: ok. 1 passed").count(), 1, "{said}");
    }
}
