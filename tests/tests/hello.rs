//! The shortest road: one process, one entry, one word.

use std::io::{Read, Write};

use offshoot::{Process, Start};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::entry]
fn greet(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(&start.args[0])
}

#[test]
fn an_entry_runs_and_its_status_comes_back() {
    within(DEADLINE, || {
        let child = Process::new().unwrap().send_arg("hi").run(greet).unwrap();
        let mut said = String::new();
        child.stream().read_to_string(&mut said).unwrap();
        assert_eq!(said, "hi");
        assert!(child.wait().unwrap().success());
        assert_ne!(child.id().unwrap(), std::process::id());
    });
}
