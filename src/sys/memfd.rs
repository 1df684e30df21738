//! Sealed memory files, for what does not fit a datagram.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

/// A memory file that holds `parts` and can never change again.
pub(crate) fn sealed(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"offshoot", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(super::fds::above_stdio(fd)?);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let n = file.write_vectored(&[IoSlice::new(rest)])?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[n..];
        }
    }
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals()))?;
    Ok(file.into())
}

/// A memory file of so many zeroes, whose size cannot change.
pub(crate) fn sealed_size(size: usize) -> io::Result<OwnedFd> {
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
