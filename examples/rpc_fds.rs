//! Privilege separation: a worker that keeps the privileges of the start opens files for a
//! program that has given up its own, and hands the descriptors back.
//!
//! The worker opens nothing but what is on its list: this is all that the program can do
//! with the privileges from then on. Started as root, the program becomes the user `nobody`;
//! started as somebody else, there is nothing to give up, and the rest is the same.

use std::fs::File;
use std::io::{self, Read};

use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use offshoot::{Fd, Process};

const NOBODY: u32 = 65534;

/// What may be opened, by those who cannot themselves.
const ALLOWED: [&str; 2] = ["/etc/shadow", "/etc/hosts"];

#[offshoot::worker]
fn open(path: String) -> Result<Fd, String> {
    if !ALLOWED.contains(&&*path) {
        return Err("it is not on the list".to_owned());
    }
    File::open(path).map(Fd::from).map_err(|e| e.kind().to_string())
}

fn drop_privileges() -> nix::Result<()> {
    setgroups(&[])?;
    setgid(Gid::from_raw(NOBODY))?;
    setuid(Uid::from_raw(NOBODY))
}

fn length(fd: Fd) -> io::Result<usize> {
    let mut text = Vec::new();
    File::from(fd.into_owned()?).read_to_end(&mut text)
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    if geteuid().is_root() {
        // Named before the drop: no other entry will have the privileges.
        offshoot::privileged([open])?;
        drop_privileges()?;
        println!("root became user {}", geteuid());
    } else {
        println!("not root: nothing to give up as user {}", geteuid());
    }
    let opener = Process::new()?.rpc(open).start()?;
    for path in ["/etc/shadow", "/etc/hosts", "/etc/passwd"] {
        let own = match File::open(path) {
            Ok(_) => "allowed".to_owned(),
            Err(error) => error.kind().to_string(),
        };
        let handed = match opener.call(path.to_owned()).wait()? {
            Ok(fd) => format!("{} bytes", length(fd)?),
            Err(why) => why,
        };
        println!("{path}: by ourselves: {own}; by the worker: {handed}");
    }
    opener.finish()?;
    Ok(())
}
