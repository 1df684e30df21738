//! How many workers make sense: CPUs that the process may use, and what its control group
//! allows.

use std::collections::BTreeSet;
use std::fs;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use offshoot::Pool;
use offshoot::pool::{ncores, ncpu};
use offshoot_tests::groups::Group;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// What a worker, which is a process of its own, counts on so many CPUs.
#[offshoot::worker]
fn counts(cpus: Vec<usize>) -> (usize, usize) {
    let mut set = CpuSet::new();
    cpus.into_iter().for_each(|cpu| set.set(cpu).unwrap());
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
    (ncpu(), ncores())
}

/// The CPUs that this process may use.
fn own() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
}

/// How many cores these are on, as far as the kernel tells.
fn cores(cpus: &[usize]) -> usize {
    let core = |cpu: &usize| {
        let dir = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        let read = |name: &str| fs::read_to_string(format!("{dir}/{name}")).ok();
        match (read("physical_package_id"), read("die_id"), read("core_id")) {
            (Some(package), die, Some(core)) => (package, die.unwrap_or_default(), core),
            _ => (String::new(), String::new(), cpu.to_string()),
        }
    };
    cpus.iter().map(core).collect::<BTreeSet<_>>().len()
}

#[test]
fn only_those_that_the_process_may_use_count() {
    within(DEADLINE, || {
        let pool = Pool::builder(counts).max(1).build().unwrap();
        let count = |cpus: &[usize]| pool.call(cpus.to_vec()).wait().unwrap();
        let own = own();
        let quota = ncpu();
        for some in 1..=own.len() {
            let cpus = &own[..some];
            let (units, found) = count(cpus);
            assert_eq!(units, some.min(quota), "of {cpus:?}");
            assert_eq!(found, cores(cpus).min(quota), "cores of {cpus:?}");
        }
        // Here it has not changed.
        assert!(ncpu() == quota && ncores() <= quota && ncpu() <= own.len());
    });
}

#[test]
fn no_more_than_the_quota_of_the_control_group() {
    within(DEADLINE, || {
        if own().len() < 2 {
            return eprintln!("skipped: there is one CPU, and less than that cannot be counted");
        }
        for (percent, wanted) in [(50, 1), (100, 1), (150, 1)] {
            let Some(group) = Group::of_cpu(percent) else { return };
            let pool = Pool::builder(counts).max(1).idle(1).build().unwrap();
            pool.call(own()).wait().unwrap();
            group.take_in(pool.pids()[0]);
            let (units, cores) = pool.call(own()).wait().unwrap();
            assert_eq!((units, cores), (wanted, wanted), "of {percent} %");
            pool.finish().unwrap();
        }
    });
}
