//! "A faster fork+exec", as in the `AnyEvent::Fork` manual: `/bin/echo hi` with its
//! standard output in a file and its standard error on a socket that we hold.
//!
//! The program is executed by a process that was forked from the small template, so
//! the size and the threads of this one do not matter.

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;

use offshoot::Process;

/// Runs a program; what it wrote to standard error, after it has ended.
fn run(program: &[&str], output: &Path) -> Result<String, Box<dyn Error>> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let child = Process::new()?.stdout(File::create(output)?).stderr(&theirs).exec(program)?;
    // With our copy open, the end of what the program writes would never be seen.
    drop(theirs);
    let mut complaint = String::new();
    ours.read_to_string(&mut complaint)?;
    println!("{}: {}", program.join(" "), child.wait()?);
    Ok(complaint)
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn Error>> {
    let output = std::env::temp_dir().join(format!("offshoot-echo-{}", std::process::id()));

    let complaint = run(&["/bin/echo", "hi"], &output)?;
    println!("  in the file: {:?}", fs::read_to_string(&output)?);
    println!("  on the socket: {complaint:?}");

    let complaint = run(&["/bin/sh", "-c", "echo no such luck >&2; exit 3"], &output)?;
    println!("  in the file: {:?}", fs::read_to_string(&output)?);
    println!("  on the socket: {complaint:?}");

    // What cannot be executed is an error, and no mute status 127.
    let error = run(&["/bin/no-such-program"], &output).expect_err("there is none");
    println!("{error}");

    fs::remove_file(output)?;
    Ok(())
}
