//! User and group ids of a process, and taking on somebody else's.

use std::io;

use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid};

use super::fdpass::Sender;

/// Real, effective and saved ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    uids: [u32; 3],
    gids: [u32; 3],
}

impl Ids {
    pub(crate) fn own() -> Ids {
        let u = getresuid().expect("getresuid cannot fail with valid pointers");
        let g = getresgid().expect("getresgid cannot fail with valid pointers");
        Ids {
            uids: [u.real.as_raw(), u.effective.as_raw(), u.saved.as_raw()],
            gids: [g.real.as_raw(), g.effective.as_raw(), g.saved.as_raw()],
        }
    }

    /// Whether a process with these ids may do what `asker` wants done: it must
    /// not be more privileged. Root asks as it likes; anyone else must be the very
    /// user and group that the process is, in all of its ids.
    pub(crate) fn serves(&self, asker: Sender) -> bool {
        asker.uid == 0
            || (self.uids.iter().all(|u| *u == asker.uid)
                && self.gids.iter().all(|g| *g == asker.gid))
    }

    pub(crate) fn effective_uid(&self) -> u32 {
        self.uids[1]
    }
}

/// Takes on the asker's user and group, in all ids, with no supplementary groups and no
/// capabilities. The asker is not root, whom every process serves as it is.
pub(crate) fn become_asker(asker: Sender) -> io::Result<()> {
    match setgroups(&[]) {
        // Nobody who was started without the privilege to drop them has dropped them
        // since: they are the asker's own. (A set-user-ID program of another user than
        // root, whose processes become its caller's.)
        Ok(()) | Err(nix::Error::EPERM) => {}
        Err(e) => return Err(e.into()),
    }
    set_gid(asker.gid)?;
    set_uid(asker.uid)?;
    // The kernel takes them away only from one who was root, and not always then
    // (capabilities(7): SECBIT_NO_SETUID_FIXUP, ambient sets).
    drop_capabilities()
}

/// Empties all sets, for good: the ambient one can have no more than the others.
fn drop_capabilities() -> io::Result<()> {
    // _LINUX_CAPABILITY_VERSION_3, and this process.
    let header = [0x2008_0522_u32, 0];
    // Effective, permitted and inheritable ones, in two words each.
    let sets = [0_u32; 6];
    // SAFETY: the kernel reads a header, and as much as goes with this version.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(crate) fn drop_groups() -> io::Result<()> {
    Ok(setgroups(&[])?)
}

pub(crate) fn set_uid(uid: u32) -> io::Result<()> {
    let uid = Uid::from_raw(uid);
    Ok(setresuid(uid, uid, uid)?)
}

pub(crate) fn set_gid(gid: u32) -> io::Result<()> {
    let gid = Gid::from_raw(gid);
    Ok(setresgid(gid, gid, gid)?)
}
