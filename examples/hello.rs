//! The first twenty lines: a process of our own, an entry in it, a word on the stream.

use std::io::{Read, Write};

use offshoot::{Process, Start};

#[offshoot::entry]
fn greet(mut start: Start) -> std::io::Result<()> {
    let name = String::from_utf8_lossy(&start.args[0]).into_owned();
    write!(start.stream, "hello, {name}, from process {}", std::process::id())
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let child = Process::new()?.send_arg("world").run(greet)?;
    let mut said = String::new();
    child.stream().read_to_string(&mut said)?;
    println!("process {} says: {said}", std::process::id());
    println!("and ended with {}", child.wait()?);
    Ok(())
}
