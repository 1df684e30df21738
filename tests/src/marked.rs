//! Descriptors that can be told apart, and of which it is known when all copies of them,
//! in whatever process, are closed.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use offshoot::Fd;

/// A file that holds a text.
pub fn file(text: &str) -> Fd {
    let mut file = tempfile::tempfile().expect("there is room for a file");
    file.write_all(text.as_bytes()).expect("there is room for a text");
    file.into()
}

/// What such a file holds.
pub fn text(fd: &Fd) -> String {
    let file = File::from(fd.as_fd().try_clone_to_owned().expect("there is room for one more"));
    let mut text = vec![0; file.metadata().expect("it is a file").len() as usize];
    file.read_exact_at(&mut text, 0).expect("it can be read");
    String::from_utf8(text).expect("it is a text")
}

/// Many descriptors of files with the numbers from 0 as their texts; there are not more
/// than a hundred files.
pub fn files(count: usize) -> (Vec<Fd>, Vec<String>) {
    let texts: Vec<String> = (0..count.min(100)).map(|n| n.to_string()).collect();
    let files: Vec<Fd> = texts.iter().map(|t| file(t)).collect();
    (0..count)
        .map(|n| (files[n * 7 % files.len()].clone(), texts[n * 7 % files.len()].clone()))
        .unzip()
}

/// The writing end of a pipe, of which all copies will be watched.
pub struct Watched(PipeReader);

/// A descriptor, and how to know that it is closed everywhere.
pub fn watched() -> (Fd, Watched) {
    let (reader, writer) = io::pipe().expect("there is room for a pipe");
    (writer.into(), Watched(reader))
}

impl Watched {
    /// Waits until all copies are closed; what was written to them.
    pub fn closed(mut self) -> String {
        let mut written = String::new();
        self.0.read_to_string(&mut written).expect("text was written");
        written
    }
}

/// Writes to a watched descriptor.
pub fn touch(fd: &Fd) {
    let fd = fd.as_fd().try_clone_to_owned().expect("there is room for one more");
    File::from(fd).write_all(b"x").expect("it is a pipe");
}
