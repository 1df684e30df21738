//! Processes that make processes, and a process that is handed to another process.
//!
//! `manager` runs in a process of its own and makes two workers there. Then it is sent
//! a process that this program has prepared, over its stream: `into_fd` gives out the
//! process as a descriptor, `from_fd` makes a handle of it again.

use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::id;
use std::sync::OnceLock;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use offshoot::{Args, Process, Start};
use sendfd::SendWithFd;

static PREPARED_BY: OnceLock<String> = OnceLock::new();

#[offshoot::setup]
fn prepare(args: Args) {
    PREPARED_BY.get_or_init(|| args.text()[0].clone());
}

/// Says who made the process, and how.
#[offshoot::entry]
fn worker(mut start: Start) -> io::Result<()> {
    let maker = String::from_utf8_lossy(&start.args[0]).into_owned();
    let prepared = PREPARED_BY.get().map_or("nobody", String::as_str);
    write!(start.stream, "worker {} run by {maker}, prepared by {prepared}", id())
}

fn run(process: Process, maker: &str) -> Result<String, Box<dyn std::error::Error>> {
    let child = process.send_arg(maker).run(worker)?;
    let mut said = String::new();
    child.stream().read_to_string(&mut said)?;
    Ok(format!("{said}, {}\n", child.wait()?))
}

#[offshoot::entry]
fn manager(mut start: Start) -> Result<(), Box<dyn std::error::Error>> {
    let me = format!("manager {}", id());
    for _ in 0..2 {
        let said = run(Process::new()?, &me)?;
        start.stream.write_all(said.as_bytes())?;
    }
    let process = Process::from_fd(receive_fd(&start.stream)?)?;
    let said = run(process, &me)?;
    start.stream.write_all(said.as_bytes())?;
    Ok(())
}

/// Receives one descriptor, close-on-exec from the first moment (`sendfd` receives
/// without that, and so is used for sending only).
fn receive_fd(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut data = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut data, Some(&mut space), flags)?;
    let mut received = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            // SAFETY: the kernel has just made them for us, and nobody else has them.
            received.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    match received.pop() {
        Some(fd) if received.is_empty() => Ok(fd),
        _ => Err(io::Error::other("one descriptor was to come")),
    }
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let child = Process::new()?.run(manager)?;
    println!("main {} runs manager {}", id(), child.id()?);

    let prepared = Process::new()?.setup(prepare, [format!("main {}", id())]);
    child.stream().send_with_fd(b"p", &[prepared.into_fd()?.as_raw_fd()])?;

    let mut report = String::new();
    child.stream().read_to_string(&mut report)?;
    print!("{report}");
    println!("manager ended with {}", child.wait()?);
    Ok(())
}
