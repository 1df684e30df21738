//! Memory that two processes share, through which records go one way.
//!
//! One process writes, one reads. What is written is there at once; the reader is told
//! (by other means) only if it sleeps. Neither trusts the other: the reader copies a
//! record before it looks at it, and believes no number that it finds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::memfd;

/// Bytes for records.
pub(crate) const ROOM: usize = 64 * 1024;
/// They begin at the second page; on the first are three numbers, a cache line each.
const START: usize = 4096;
const TAIL: usize = 0;
const HEAD: usize = 64;
const SLEEPS: usize = 128;
/// Length and position, before each record.
const HEADER: usize = 16;
/// The longest record.
pub(crate) const RECORD: usize = 4096;

/// The other side has written nonsense.
#[derive(Debug)]
pub(crate) struct Nonsense;

#[derive(Debug)]
pub(crate) struct Ring {
    map: NonNull<u8>,
    /// How far this side has read or written: the other side cannot change that.
    own: AtomicU64,
    /// How far the other side had, when this one last looked. It looks again only when that
    /// is not enough: the line with the number then stays with the one who writes it.
    seen: AtomicU64,
}

// SAFETY: the mapping stays until the drop, and is only used through atomics and through
// copies of the parts that these give to one side or the other.
unsafe impl Send for Ring {}
// SAFETY: the same; `push` and `pop` are called by one thread at a time, as they say.
unsafe impl Sync for Ring {}

impl Ring {
    /// A new one, empty, and the file that the other process maps. It cannot shrink
    /// under those who use it.
    pub(crate) fn create() -> io::Result<(Ring, OwnedFd)> {
        let file = memfd::sealed_size(START + ROOM)?;
        let ring = Ring::map(&file)?;
        // Until the reader knows of it.
        ring.sleeps().store(1, Ordering::Relaxed);
        Ok((ring, file))
    }

    /// One that another process has made.
    pub(crate) fn map(file: &OwnedFd) -> io::Result<Ring> {
        let size = std::fs::File::from(file.try_clone()?).metadata()?.len();
        if size != (START + ROOM) as u64 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: a new mapping of a file of this size, at an address of the kernel's
        // choice.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                START + ROOM,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_fd().as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let map = NonNull::new(map.cast()).ok_or(io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Ring { map, own: AtomicU64::new(0), seen: AtomicU64::new(0) })
    }

    fn number(&self, at: usize) -> &AtomicU64 {
        // SAFETY: within the first page, aligned, and only ever used as this atomic.
        unsafe { &*self.map.as_ptr().add(at).cast::<AtomicU64>() }
    }

    fn sleeps(&self) -> &AtomicU32 {
        // SAFETY: as in `number`.
        unsafe { &*self.map.as_ptr().add(SLEEPS).cast::<AtomicU32>() }
    }

    /// Writes a record. `false`: there is no room now. By one thread at a time, of the
    /// writing process.
    pub(crate) fn push(&self, position: u64, record: &[u8]) -> bool {
        let tail = self.own.load(Ordering::Relaxed);
        let needed = HEADER + record.len().next_multiple_of(8);
        if record.len() > RECORD || !self.has_room(tail, needed) {
            return false;
        }
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&(record.len() as u32).to_ne_bytes());
        header[8..].copy_from_slice(&position.to_ne_bytes());
        self.copy_in(tail, &header);
        self.copy_in(tail + HEADER as u64, record);
        let tail = tail + needed as u64;
        self.own.store(tail, Ordering::Relaxed);
        // In one order with `sleep`; see there.
        self.number(TAIL).store(tail, Ordering::SeqCst);
        true
    }

    fn has_room(&self, tail: u64, needed: usize) -> bool {
        let fits = |head: u64| {
            let used = tail.wrapping_sub(head);
            used <= ROOM as u64 && ROOM - used as usize >= needed
        };
        if fits(self.seen.load(Ordering::Relaxed)) {
            return true;
        }
        let head = self.number(HEAD).load(Ordering::Acquire);
        self.seen.store(head, Ordering::Relaxed);
        fits(head)
    }

    /// Whether the reader has to be woken; it is told once. After a push.
    pub(crate) fn must_wake(&self) -> bool {
        self.sleeps().load(Ordering::SeqCst) != 0 && self.sleeps().swap(0, Ordering::AcqRel) != 0
    }

    /// Whether the reader sleeps, as far as one can see.
    pub(crate) fn is_asleep(&self) -> bool {
        self.sleeps().load(Ordering::Relaxed) != 0
    }

    /// Puts the next record into `buffer`, if it belongs at `position`. By one thread at
    /// a time, of the reading process.
    pub(crate) fn pop(&self, position: u64, buffer: &mut Vec<u8>) -> Result<bool, Nonsense> {
        let head = self.own.load(Ordering::Relaxed);
        let used = self.tail_behind(head).wrapping_sub(head);
        if used == 0 {
            return Ok(false);
        }
        if used > ROOM as u64 || used < HEADER as u64 {
            return Err(Nonsense);
        }
        let mut header = [0; HEADER];
        self.copy_out(head, &mut header);
        let [a, b, c, d, _, _, _, _, place @ ..] = header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let needed = HEADER + length.next_multiple_of(8);
        if length > RECORD || needed as u64 > used {
            return Err(Nonsense);
        }
        if u64::from_ne_bytes(place) != position {
            return Ok(false);
        }
        buffer.clear();
        buffer.resize(length, 0);
        self.copy_out(head + HEADER as u64, buffer);
        let head = head + needed as u64;
        self.own.store(head, Ordering::Relaxed);
        self.number(HEAD).store(head, Ordering::Release);
        Ok(true)
    }

    /// How far has been written, if that is behind `head`, as far as was seen; else as it
    /// is now.
    fn tail_behind(&self, head: u64) -> u64 {
        let seen = self.seen.load(Ordering::Relaxed);
        if seen != head {
            return seen;
        }
        let tail = self.number(TAIL).load(Ordering::SeqCst);
        self.seen.store(tail, Ordering::Relaxed);
        tail
    }

    /// How far the other side has written, as it says now.
    pub(crate) fn written(&self) -> u64 {
        self.number(TAIL).load(Ordering::Acquire)
    }

    /// How far this side has read. By the thread that does.
    pub(crate) fn taken(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    /// Whether there is anything to read at `position`.
    pub(crate) fn has(&self, position: u64) -> bool {
        let head = self.own.load(Ordering::Relaxed);
        if self.tail_behind(head) == head {
            return false;
        }
        let mut place = [0; 8];
        self.copy_out(head + 8, &mut place);
        u64::from_ne_bytes(place) == position
    }

    /// The reader is about to sleep, and wants to be woken. `false`: it must not, as
    /// there is something to read at `position`. (What belongs elsewhere comes after
    /// something that wakes it.)
    ///
    /// Here a number is written, and then another one read; the writer does the same the
    /// other way round. As there is one order of all four, one of the two sees what the
    /// other has written: the reader that there is a record, or the writer that it sleeps.
    pub(crate) fn sleep(&self, position: u64) -> bool {
        self.sleeps().store(1, Ordering::SeqCst);
        if !self.has(position) {
            return true;
        }
        self.sleeps().store(0, Ordering::Relaxed);
        false
    }

    /// The reader is awake.
    pub(crate) fn wake(&self) {
        if self.is_asleep() {
            self.sleeps().store(0, Ordering::Relaxed);
        }
    }

    fn copy_in(&self, at: u64, bytes: &[u8]) {
        let at = at as usize % ROOM;
        let first = bytes.len().min(ROOM - at);
        // SAFETY: both parts lie within the room, and the indices give it to this side.
        unsafe {
            let start = self.map.as_ptr().add(START);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(at), first);
            std::ptr::copy_nonoverlapping(bytes.as_ptr().add(first), start, bytes.len() - first);
        }
    }

    fn copy_out(&self, at: u64, bytes: &mut [u8]) {
        let at = at as usize % ROOM;
        let first = bytes.len().min(ROOM - at);
        // SAFETY: as in `copy_in`. A peer that writes here out of turn garbles the copy,
        // which is checked like anything that was received.
        unsafe {
            let start = self.map.as_ptr().add(START);
            std::ptr::copy_nonoverlapping(start.add(at), bytes.as_mut_ptr(), first);
            std::ptr::copy_nonoverlapping(
                start,
                bytes.as_mut_ptr().add(first),
                bytes.len() - first,
            );
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the whole of the mapping, to which nothing refers any more.
        unsafe { libc::munmap(self.map.as_ptr().cast(), START + ROOM) };
    }
}

#[cfg(test)]
mod tests;
