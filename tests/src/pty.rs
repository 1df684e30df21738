//! Terminals for programs.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// The two ends of a pseudo-terminal. Neither is ever inheritable: a program that another
/// test starts at this moment would keep the terminal from being hung up.
pub struct Pty {
    /// What the person at it sees and types; the terminal is hung up when it is closed.
    pub master: File,
    /// What programs have.
    pub slave: File,
}

/// A new one, which is nobody's controlling terminal yet.
pub fn pty() -> Pty {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("there are pseudo-terminals");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
    let path = ptsname_r(&master).expect("it has a name");
    // std opens with O_CLOEXEC.
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
    let slave = options.open(path).expect("it is unlocked");
    Pty { master: File::from(std::os::fd::OwnedFd::from(master)), slave }
}
