//! Where a process runs: on which CPUs, in which control group.

use std::fs;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use offshoot::{Error, Process};
use offshoot_tests::groups::Group;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Where this process runs.
#[offshoot::worker]
fn place() -> (Vec<usize>, String) {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let cpus = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect();
    (cpus, fs::read_to_string("/proc/self/cgroup").unwrap())
}

fn new() -> Process {
    Process::new().unwrap()
}

fn failure(process: Process) -> Error {
    process.exec(["/bin/true"]).and_then(|child| child.wait()).unwrap_err()
}

#[test]
fn a_process_runs_on_the_cpus_that_it_may() {
    within(DEADLINE, || {
        let rpc = new().rpc(place).start().unwrap();
        let (all, _) = rpc.call(()).wait().unwrap();
        for cpu in [all[0], all[all.len() - 1]] {
            let rpc = new().cpu_affinity([cpu]).rpc(place).start().unwrap();
            assert_eq!(rpc.call(()).wait().unwrap().0, [cpu]);
        }
        let rpc = new().cpu_affinity(all.iter().copied()).rpc(place).start().unwrap();
        assert_eq!(rpc.call(()).wait().unwrap().0, all);
        // What a template has, its forks have.
        let template = new().cpu_affinity([all[0]]);
        let rpc = template.fork().unwrap().rpc(place).start().unwrap();
        assert_eq!(rpc.call(()).wait().unwrap().0, [all[0]]);
    });
}

#[test]
fn cpus_that_there_are_not_are_errors() {
    within(DEADLINE, || {
        assert!(failure(new().cpu_affinity([])).to_string().contains("needs a CPU"));
        assert!(failure(new().cpu_affinity([0, 1024])).to_string().contains("1024 is not a CPU"));
        // The kernel knows which ones there are.
        let error = failure(new().cpu_affinity([1023]));
        assert!(error.is_config(), "{error}");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    });
}

#[test]
fn a_process_writes_itself_into_its_group() {
    within(DEADLINE, || {
        // Whatever has such a file is as good as a group.
        let dir = tempfile::tempdir().unwrap();
        let procs = dir.path().join("cgroup.procs");
        fs::write(&procs, "").unwrap();
        let child = new().cgroup(dir.path()).exec(["/bin/true"]).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::read_to_string(&procs).unwrap(), "0");
    });
}

#[test]
fn groups_that_there_are_not_are_errors() {
    within(DEADLINE, || {
        let error = failure(new().cgroup("jobs"));
        assert!(error.to_string().contains("not absolute: jobs"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let error = failure(new().cgroup(dir.path()));
        assert!(error.is_config(), "{error}");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert!(!dir.path().join("cgroup.procs").exists());
    });
}

#[test]
fn a_process_is_moved_to_a_real_group() {
    within(DEADLINE, || {
        let Some(group) = Group::unified() else { return };
        let rpc = new().cgroup(group.path()).rpc(place).start().unwrap();
        let (_, groups) = rpc.call(()).wait().unwrap();
        assert!(group.is_named_in(&groups), "{groups}");
        rpc.finish().unwrap();
    });
}
