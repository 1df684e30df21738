//! Sealed memory files, for what does not fit a datagram.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

/// EFBIG if this process may not have files of so many bytes (RLIMIT_FSIZE, which memory files
/// are subject to). Found out here, since one who tries is sent SIGXFSZ, and dies of it.
fn check_limit(size: u64) -> io::Result<()> {
    let (soft, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if size <= soft { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EFBIG)) }
}

/// A memory file that holds `parts` and can never change again.
pub(crate) fn sealed(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    check_limit(parts.iter().map(|part| part.len() as u64).sum())?;
    let fd = memfd_create(c"offshoot", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(super::fds::above_stdio(fd)?);
    for part in parts {
        file.write_all(part)?;
    }
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals()))?;
    Ok(file.into())
}

/// A memory file of so many zeroes, whose size cannot change.
pub(crate) fn sealed_size(size: usize) -> io::Result<OwnedFd> {
    check_limit(size as u64)?;
    let fd = memfd_create(c"offshoot", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let file = File::from(super::fds::above_stdio(fd)?);
    file.set_len(size as u64)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW))?;
    Ok(file.into())
}

/// The received memory file, for reading from its start, and its size; an error
/// if it is not sealed, because then its size is only a claim.
pub(crate) fn open_sealed(fd: OwnedFd) -> io::Result<(File, u64)> {
    use std::io::{Seek, SeekFrom};
    let has = SealFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GET_SEALS)?);
    if !has.contains(seals()) {
        return Err(io::Error::other("the memory file is not sealed"));
    }
    let mut file = File::from(fd);
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    Ok((file, size))
}
