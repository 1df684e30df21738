//! A program that may not have files of some size, and would be killed if it tried
//! (SIGXFSZ): memory files are files.

use std::io::{Read, Write};

use nix::sys::resource::{Resource::RLIMIT_FSIZE, getrlimit, setrlimit};
use offshoot::{Process, Resource, Start};

use super::{Scene, touch, works};

pub(super) const SCENES: &[Scene] =
    &[("small_files", small_files), ("small_files_inside", small_files_inside)];

/// Sets the limit, for as long as this is there: what ends later may write its coverage.
struct Limited(u64, u64);

impl Limited {
    fn to(size: u64) -> Limited {
        let (soft, hard) = getrlimit(RLIMIT_FSIZE).expect("it can be asked for");
        setrlimit(RLIMIT_FSIZE, size, hard).expect("it is lower");
        Limited(soft, hard)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        setrlimit(RLIMIT_FSIZE, self.0, self.1).expect("it is no more than it may be");
    }
}

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// Bytes of which each is where it belongs.
fn bytes(len: usize) -> Vec<u8> {
    let mut all = (0..251).collect::<Vec<u8>>().repeat(len / 251 + 1);
    all.truncate(len);
    all
}

/// A string of so many bytes arrives.
fn arrives(process: Process, len: usize) {
    let sent = bytes(len);
    let said = said_by(process.send_arg(&sent));
    assert!(said == sent, "{} of {len} bytes arrived, or others", said.len());
}

/// What arrives of what was queued.
fn said_by(process: Process) -> Vec<u8> {
    let child = process.run(super::echo).expect("it is sent");
    let mut said = Vec::new();
    child.stream().read_to_end(&mut said).expect("it can be read");
    assert!(child.wait().expect("its status is told").success());
    said
}

fn is_too_much(process: Process, len: usize) {
    let error = process.send_arg(bytes(len)).run(super::echo).expect_err("there is no room");
    assert!(error.is_resource(), "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EFBIG));
    assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
}

#[offshoot::worker]
fn count(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// So many that replies come faster by shared memory, if there can be any.
fn calls_are_answered() {
    let rpc = new().rpc(count).start().expect("it runs");
    let calls: Vec<_> = (0..200).map(|len| rpc.call(bytes(len))).collect();
    for (len, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait().expect("it is answered"), len);
    }
    rpc.finish().expect("it ends well");
}

fn all_works() {
    for size in [0, 1 << 14, 1 << 16] {
        let _limited = Limited::to(size);
        for len in [10_000, 20_000, 70_000, 100_000] {
            arrives(new(), len);
        }
        let template = new().setup(touch, [bytes(20_000)]).send_arg(bytes(80_000));
        assert!(said_by(template.fork().expect("it is sent")) == bytes(80_000));
        is_too_much(new(), 8 << 20);
        calls_are_answered();
        works(new());
    }
    // Exactly as large as it may be, and a little larger.
    let _limited = Limited::to(2 << 20);
    arrives(new(), (2 << 20) - 100);
    is_too_much(new(), 2 << 20);
}

fn small_files(_: &[String]) {
    all_works();
}

/// In a process that was given the limit.
fn small_files_inside(_: &[String]) {
    let (_, hard) = getrlimit(RLIMIT_FSIZE).expect("it can be asked for");
    let child = new().rlimit(Resource::FileSize, 0, hard).run(inside).expect("it runs");
    let mut said = String::new();
    child.stream().read_to_string(&mut said).expect("it is text");
    assert_eq!(said, "done");
    assert!(child.wait().expect("its status is told").success());
}

#[offshoot::entry]
fn inside(mut start: Start) -> std::io::Result<()> {
    all_works();
    let (_, hard) = getrlimit(RLIMIT_FSIZE)?;
    setrlimit(RLIMIT_FSIZE, hard, hard)?;
    start.stream.write_all(b"done")
}
