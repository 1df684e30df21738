//! Sends as many descriptors as can be sent, and one more. Started with a limit that
//! allows it: a template has the limits that the program was started with.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;

use offshoot::{Args, Process, Start};

const MOST: usize = 4096;

#[offshoot::entry]
fn inodes(mut start: Start) -> io::Result<()> {
    let all: Vec<u8> = std::mem::take(&mut start.fds)
        .into_iter()
        .flat_map(|fd| File::from(fd).metadata().expect("it is open").ino().to_le_bytes())
        .collect();
    start.stream.write_all(&all)
}

#[offshoot::setup]
fn nothing(_: Args) {}

fn new() -> Process {
    Process::new().unwrap()
}

fn with(process: Process, files: &[File]) -> Process {
    files.iter().fold(process, |p, file| p.send_fd(file))
}

#[track_caller]
fn arrive(process: Process, files: &[File]) {
    let child = process.run(inodes).unwrap();
    let mut said = Vec::new();
    child.stream().read_to_end(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    let sent: Vec<u8> =
        files.iter().flat_map(|f| f.metadata().unwrap().ino().to_le_bytes()).collect();
    assert!(said == sent, "{} of {} arrived in order", said.len() / 8, files.len());
}

#[track_caller]
fn refused(process: Process) {
    let error = process.run(inodes).unwrap_err();
    assert!(error.is_too_many_fds() && error.is_resource(), "{error}");
}

#[offshoot::main]
fn main() {
    let files: Vec<File> = (0..=MOST).map(|_| tempfile::tempfile().unwrap()).collect();
    // About what one message carries, and what two carry.
    for count in (248..256).chain([500, 506, 759, MOST - 1, MOST]) {
        arrive(with(new(), &files[..count]), &files[..count]);
    }
    refused(with(new(), &files));

    let half = with(new(), &files[..MOST / 2]);
    let whole = with(half.fork().unwrap(), &files[MOST / 2..MOST]);
    arrive(whole.fork().unwrap(), &files[..MOST]);
    refused(whole.send_fd(&files[0]));

    // Those that a template has count as well.
    let template = half.setup(nothing, ["x"]);
    let whole = with(template.fork().unwrap(), &files[MOST / 2..MOST]);
    arrive(whole.fork().unwrap(), &files[..MOST]);
    refused(whole.send_fd(&files[0]));
    arrive(template, &files[..MOST / 2]);
    println!("all right");
}
