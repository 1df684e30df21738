//! What /proc tells about processes and descriptors, without a system call that
//! would need a borrowed number.

use std::collections::BTreeMap;
use std::fs;

/// Whether a program that this process executes would inherit the descriptor: not one that
/// another thread has just closed.
pub fn inheritable(fd: i32) -> bool {
    let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")) else { return false };
    let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).expect("all have flags");
    let flags = i32::from_str_radix(flags.trim(), 8).expect("they are octal");
    flags & nix::fcntl::OFlag::O_CLOEXEC.bits() == 0
}

/// What a descriptor of this process refers to.
pub fn target(fd: i32) -> String {
    let link = fs::read_link(format!("/proc/self/fd/{fd}"));
    link.map_or_else(|e| e.to_string(), |l| l.to_string_lossy().into_owned())
}

/// The open descriptors of another process, and what they refer to.
pub fn fds_of(pid: u32) -> BTreeMap<i32, String> {
    let dir = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs, and is ours");
    let named = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        Some((entry.file_name().to_str()?.parse().ok()?, target))
    };
    dir.filter_map(|e| named(e.ok()?)).collect()
}

/// All children of a process, zombies included.
pub fn children_of(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = all.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|p| crate::parent_of(*p) == Some(pid)).collect()
}

/// How many threads this process has.
pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("/proc is mounted").count()
}

/// A field of /proc/PID/status that is in kB, in bytes.
fn status_bytes(pid: &str, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix(field)).expect("all have it");
    let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    1024 * kib.parse::<u64>().expect("a number of kB")
}

/// The largest resident set that a process (`self`, or its id) has had, in bytes.
pub fn peak_memory(pid: &str) -> u64 {
    status_bytes(pid, "VmHWM")
}

/// The resident set of a process (`self`, or its id), in bytes.
pub fn memory(pid: &str) -> u64 {
    status_bytes(pid, "VmRSS")
}

/// Anonymous memory of a process in huge pages, in MiB.
pub fn huge_pages(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = text.lines().find_map(|l| l.strip_prefix("AnonHugePages:")).expect("as in proc(5)");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// How often this machine has had no huge page to give, to anybody.
pub fn huge_pages_refused() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("thp_collapse_alloc_failed "));
    line.map_or(0, |n| n.parse().expect("a number"))
}

/// Whether of so many MiB that a template has loaded enough are in huge pages. Where they are
/// not, it is the kernel that had none: then this says so, and fails otherwise. `refused`
/// is how often it had none before.
pub fn is_collapsed(collapsed: u64, loaded: u64, refused: u64) -> bool {
    if collapsed >= loaded / 2 {
        return true;
    }
    let own = collapsed_here();
    assert!(
        huge_pages_refused() > refused || own < TRIED / 2,
        "{collapsed} of {loaded} MiB, while this process was given {own} of {TRIED}"
    );
    println!("skipped: the kernel gave huge pages for {collapsed} of {loaded} MiB");
    false
}

const TRIED: u64 = 64;

/// Asks for huge pages beneath memory of this process: how many of [`TRIED`] MiB it was given.
#[allow(unsafe_code)]
fn collapsed_here() -> u64 {
    const HUGE: usize = 2 << 20;
    const MADV_COLLAPSE: libc::c_int = 25;
    let memory = vec![1u8; (TRIED as usize + 2) << 20];
    let end = memory.as_ptr() as usize + memory.len();
    let first = (memory.as_ptr() as usize).next_multiple_of(HUGE);
    let given = (first..end).step_by(HUGE).filter(|at| {
        // SAFETY: the contents stay as they are; only the pages beneath them change.
        at + HUGE <= end && unsafe { libc::madvise(*at as *mut _, HUGE, MADV_COLLAPSE) } == 0
    });
    2 * given.count() as u64
}

/// The address space of a process (`self`, or its id), in bytes.
pub fn virtual_memory(pid: &str) -> u64 {
    status_bytes(pid, "VmSize")
}

/// Memory of a process (`self`, or its id) that it shares with no other, in bytes.
pub fn private_memory(pid: &str) -> u64 {
    let all = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let private = all.lines().filter(|l| l.starts_with("Private_Dirty:"));
    let kib = private.filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
    1024 * kib.sum::<u64>()
}
