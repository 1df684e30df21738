//! A program that changes its settings after it was started, and prints what its
//! processes make of that.

use std::io::Read;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use offshoot::{Process, Start};
use offshoot_tests::report;

/// All that there are.
const LIMITS: [Resource; 16] = [
    Resource::RLIMIT_AS,
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_LOCKS,
    Resource::RLIMIT_MEMLOCK,
    Resource::RLIMIT_MSGQUEUE,
    Resource::RLIMIT_NICE,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_RTPRIO,
    Resource::RLIMIT_RTTIME,
    Resource::RLIMIT_SIGPENDING,
    Resource::RLIMIT_STACK,
];

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
        // As far as it goes: 19.
        libc::nice(3);
    }
    std::env::set_current_dir("/").unwrap();
    umask(Mode::from_bits_truncate(0o077));
    for resource in LIMITS {
        let (soft, hard) = getrlimit(resource).unwrap();
        // Unlimited as most are, or a number: another one in any case, where there is room.
        let other = match soft {
            0 => hard.min(1),
            soft => (soft - 1).min(1 << 40),
        };
        setrlimit(resource, other, hard).unwrap();
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 77, hard).unwrap();
}

/// There is none for the directory: what comes of it, once there are.
fn without_descriptors(process: Process) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let process = process.like_parent();
    setrlimit(Resource::RLIMIT_NOFILE, 77, hard).unwrap();
    let fork = process.fork().unwrap_err();
    let error = process.run(tell).unwrap_err();
    assert_eq!(fork.to_string(), error.to_string());
    assert!(error.is_resource(), "{error:?}");
    println!("{error}");
}

#[offshoot::main]
fn main() {
    change();
    let process = Process::new().unwrap();
    let process = match std::env::args().nth(1).as_deref() {
        Some("as started") => process,
        Some("like parent") => process.like_parent(),
        Some("like parent in a removed directory") => {
            let directory = tempfile::tempdir().unwrap();
            std::env::set_current_dir(directory.path()).unwrap();
            directory.close().unwrap();
            process.like_parent()
        }
        Some("like parent without descriptors") => return without_descriptors(process),
        Some("as titled") => process.title("a title of its own"),
        other => panic!("no such scenario: {other:?}"),
    };
    let child = process.run(tell).unwrap();
    let mut said = String::new();
    child.stream().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    print!("{said}");
}
