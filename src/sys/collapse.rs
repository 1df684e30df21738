//! Huge pages for what a template has preloaded: forking copies one entry for
//! each page, so 200 MB of small pages make a fork forty times slower.

use std::sync::OnceLock;

const HUGE: usize = 2 << 20;
const PAGE: usize = 4096;
/// Below this much anonymous memory a fork is fast anyway.
const WORTHWHILE: usize = 16 << 20;
/// A mapping of which less than one part in so many is there is not looked through:
/// at 1 us for each 2 MiB, that takes no longer than collapsing what is there.
const SPARSE: usize = 1024;
const MADV_COLLAPSE: libc::c_int = 25;

/// Collapses the well-filled parts of this process's large private anonymous
/// mappings into huge pages (Linux 6.1 and later); bytes collapsed.
pub(crate) fn collapse() -> usize {
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return 0 };
    let large: Vec<Mapping> = mappings(&maps).filter(Mapping::is_dense).collect();
    if large.iter().map(|m| m.resident).sum::<usize>() < WORTHWHILE {
        return 0;
    }
    let mut done = 0;
    for Mapping { start, end, .. } in large {
        let mut at = start.next_multiple_of(HUGE);
        while at + HUGE <= end {
            if well_filled(at) {
                match advise(at) {
                    Ok(()) => done += HUGE,
                    // Unknown to this kernel, or no huge page to be had.
                    Err(libc::EINVAL) if done == 0 => return 0,
                    Err(_) => {}
                }
            }
            at += HUGE;
        }
    }
    done
}

struct Mapping {
    start: usize,
    end: usize,
    resident: usize,
}

impl Mapping {
    /// Not worth the walk: what is little, and what is reserved by the terabyte and
    /// nearly empty, as the shadow of a sanitizer or the arena of a garbage collector.
    fn is_dense(&self) -> bool {
        let size = self.end - self.start;
        size >= 2 * HUGE && self.resident >= HUGE && self.resident >= size / SPARSE
    }
}

/// The private anonymous mappings in the text of `/proc/self/smaps`.
fn mappings(smaps: &str) -> impl Iterator<Item = Mapping> {
    let mut lines = smaps.lines();
    std::iter::from_fn(move || {
        loop {
            if let Some((start, end)) = anonymous(lines.next()?) {
                let resident = lines.find_map(|l| l.strip_prefix("Rss:"))?;
                let kib = resident.trim().strip_suffix(" kB")?.parse::<usize>().ok()?;
                return Some(Mapping { start, end, resident: kib * 1024 });
            }
        }
    })
}

fn anonymous(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let private = words.next()? == "rw-p";
    let inode = words.nth(2)?;
    let name = words.next();
    let anonymous = inode == "0" && matches!(name, None | Some("[heap]"));
    (private && anonymous).then_some((start, end))
}

/// At least half of the pages are there: collapsing must not fill what is empty.
fn well_filled(at: usize) -> bool {
    let mut resident = [0u8; HUGE / PAGE];
    // SAFETY: only asks about an address range; fills one byte for each page.
    let done = unsafe { libc::mincore(at as *mut _, HUGE, resident.as_mut_ptr().cast()) };
    done == 0 && resident.iter().filter(|r| **r & 1 != 0).count() >= HUGE / PAGE / 2
}

fn advise(at: usize) -> Result<(), i32> {
    // SAFETY: the contents stay as they are; only the pages beneath them change.
    if unsafe { libc::madvise(at as *mut _, HUGE, MADV_COLLAPSE) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

/// Whether this kernel has MADV_COLLAPSE.
pub(crate) fn available() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        // An empty range does nothing, but an unknown advice is still EINVAL.
        // SAFETY: no memory is named.
        unsafe { libc::madvise(std::ptr::null_mut(), 0, MADV_COLLAPSE) == 0 }
    })
}
