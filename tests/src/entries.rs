//! Small entries that several tests run, and how they are spoken to.

use std::io::{self, Read, Write};

use offshoot::{Child, Process, Start};

/// Says that it is here.
#[offshoot::entry]
pub fn answer(mut start: Start) -> io::Result<()> {
    start.stream.write_all(b"here")
}

/// The process runs, says that it is here, and ends well.
pub fn answers(process: Process) {
    let child = process.run(answer).expect("it runs");
    let mut said = String::new();
    child.stream().read_to_string(&mut said).expect("it is text");
    assert_eq!(said, "here");
    assert!(child.wait().expect("its status is told").success());
}

/// Ends when its stream does.
#[offshoot::entry]
pub fn linger(mut start: Start) {
    let _ = start.stream.read(&mut [0]);
}

/// Ends with the status that it is told, and with 255 if it is told none.
#[offshoot::entry]
pub fn until_told(mut start: Start) -> io::Result<()> {
    let mut status = [255];
    let _ = start.stream.read(&mut status)?;
    std::process::exit(i32::from(status[0]))
}

/// Tells it.
pub fn tell(child: &Child, status: u8) {
    child.stream().write_all(&[status]).expect("it listens");
}
