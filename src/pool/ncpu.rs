//! How many workers make sense.

use std::collections::BTreeSet;
use std::fs;
use std::thread::available_parallelism;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// How many workers that compute can run at a time: the CPUs (execution units) that this
/// process may use, but no more than the CPU quota of its control group allows; at least
/// one.
///
/// (`AnyEvent::Fork::Pool::ncpu`.)
pub fn ncpu() -> usize {
    // It knows of affinity, and of quotas in both versions of control groups.
    available_parallelism().map_or(1, usize::from)
}

/// The same, but counting cores: of those execution units that share one, only one. For
/// work that is limited by what the units of a core share, as heavy arithmetic is.
pub fn ncores() -> usize {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return ncpu() };
    let cpus = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false));
    let siblings = cpus.map(|cpu| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        // Where nothing is known, each is a core.
        fs::read_to_string(path).unwrap_or_else(|_| cpu.to_string())
    });
    distinct(siblings).clamp(1, ncpu())
}

/// How many cores there are, of lists of the units that share one.
fn distinct(siblings: impl Iterator<Item = String>) -> usize {
    siblings.map(|list| list.trim().to_owned()).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_one_core_count_once() {
        let lists = ["0,2\n", "1,3\n", "0,2\n", "1,3\n", "4-5\n", "4-5\n", "6"];
        assert_eq!(distinct(lists.into_iter().map(str::to_owned)), 4);
    }

    #[test]
    fn there_is_at_least_one() {
        assert!(ncpu() >= 1 && (1..=ncpu()).contains(&ncores()));
    }
}
