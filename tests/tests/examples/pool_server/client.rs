//! A server that a test runs, and what is asked of it.

use std::io::{Cursor, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use image::{ImageFormat, Rgb, RgbImage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot_tests::program::Program;
use offshoot_tests::{DEADLINE, eventually};
use serde_json::Value;

use crate::built::example;

/// A running server.
pub(super) struct Server {
    pub(super) program: Program,
    pub(super) address: String,
}

impl Server {
    pub(super) fn start(options: &[&str]) -> Server {
        let mut command = Command::new(example("pool_server"));
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        let mut program = Program::start(&mut command);
        let line = program.expect("serving on http://");
        let (address, _) = line.split_once('/').unwrap();
        Server { program, address: address.to_owned() }
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.program.id() as i32), signal).unwrap();
    }

    /// It ends well, and leaves nobody; its last words.
    pub(super) fn ends(mut self) -> String {
        self.program.succeed();
        self.program.nobody_left(DEADLINE)
    }
}

/// A server's answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// Asks, and waits for the answer.
pub(super) fn ask(address: &str, request: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    let request = format!("{head}Content-Length: {length}\r\n\r\n");
    stream.write_all(&[request.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head and a body");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: answer[end + 4..].to_vec() }
}

pub(super) fn post(address: &str, picture: &[u8]) -> Answer {
    ask(address, "POST /thumbnail", picture)
}

/// What `/stats` says.
pub(super) fn stats(address: &str) -> Value {
    serde_json::from_slice(&ask(address, "GET /stats", b"").body).unwrap()
}

/// Waits until `/stats` says so.
pub(super) fn until(address: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let mut said = Value::Null;
    eventually(DEADLINE, what, || {
        said = stats(address);
        condition(&said)
    });
    said
}

/// The one idle worker that is kept.
pub(super) fn idle_worker(address: &str) -> Pid {
    let said = until(address, "a worker is idle", |said| said["workers"]["idle"] == 1);
    Pid::from_raw(said["pids"][0].as_i64().unwrap() as i32)
}

/// A picture, small enough to be done in no time.
pub(super) fn picture() -> Vec<u8> {
    picture_of(200)
}

/// One of so many pixels from left to right, and half as many from top to bottom.
pub(super) fn picture_of(width: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, width / 2, |x, y| Rgb([x as u8, y as u8, 0]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}
