//! A program that changes its settings after it was started, and prints what its
//! processes make of that.

use std::io::Read;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use offshoot::{Process, Start};
use offshoot_tests::report;

#[offshoot::entry]
fn tell(mut start: Start) -> std::io::Result<()> {
    std::io::Write::write_all(&mut start.stream, report::of_this_process().as_bytes())
}

#[allow(unsafe_code)]
fn change() {
    // SAFETY: this program has one thread.
    unsafe {
        std::env::set_var("SLATE", "changed");
        std::env::set_var("SLATE_NEW", "new");
        std::env::remove_var("SLATE_GONE");
    }
    std::env::set_current_dir("/").unwrap();
    umask(Mode::from_bits_truncate(0o077));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 77, hard).unwrap();
}

#[offshoot::main]
fn main() {
    change();
    let process = Process::new().unwrap();
    let process = match std::env::args().nth(1).as_deref() {
        Some("as started") => process,
        Some("like parent") => process.like_parent(),
        Some("as titled") => process.title("a title of its own"),
        other => panic!("no such scenario: {other:?}"),
    };
    let child = process.run(tell).unwrap();
    let mut said = String::new();
    child.stream().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    print!("{said}");
}
