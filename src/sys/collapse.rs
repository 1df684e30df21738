//! Huge pages for what a template has preloaded: forking copies one entry for
//! each page, so 200 MB of small pages make a fork forty times slower.

use std::sync::OnceLock;

const HUGE: usize = 2 << 20;
const PAGE: usize = 4096;
/// Below this much anonymous memory a fork is fast anyway.
const WORTHWHILE: usize = 16 << 20;
const MADV_COLLAPSE: libc::c_int = 25;

/// Collapses the well-filled parts of this process's large private anonymous
/// mappings into huge pages (Linux 6.1 and later); bytes collapsed.
pub(crate) fn collapse() -> usize {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return 0 };
    let large: Vec<(usize, usize)> = maps.lines().filter_map(large_anonymous).collect();
    if large.iter().map(|(start, end)| end - start).sum::<usize>() < WORTHWHILE {
        return 0;
    }
    let mut done = 0;
    for (start, end) in large {
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

fn large_anonymous(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let private = words.next()? == "rw-p";
    let inode = words.nth(2)?;
    let name = words.next();
    let anonymous = inode == "0" && matches!(name, None | Some("[heap]"));
    (private && anonymous && end - start >= 2 * HUGE).then_some((start, end))
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
