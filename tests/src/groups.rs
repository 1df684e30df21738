//! Control groups for a test, removed with it. Where none can be made, the test says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A control group.
pub struct Group(PathBuf);

impl Group {
    /// One of version 2.
    pub fn unified() -> Option<Group> {
        Group::within(|kind, _| kind == "cgroup2")
    }

    /// One whose CPU time is limited to so many hundredths of a CPU, of either version.
    pub fn of_cpu(percent: u32) -> Option<Group> {
        let quota = 1000 * percent;
        let group = Group::within(|kind, options| {
            kind == "cgroup2" || options.split(',').any(|option| option == "cpu")
        })?;
        let limited = match group.0.join("cpu.max") {
            both if both.exists() => fs::write(both, format!("{quota} 100000")),
            _ => fs::write(group.0.join("cpu.cfs_period_us"), "100000")
                .and_then(|()| fs::write(group.0.join("cpu.cfs_quota_us"), quota.to_string())),
        };
        limited.inspect_err(|e| eprintln!("skipped: no quota can be set: {e}")).ok()?;
        Some(group)
    }

    fn within(fits: impl Fn(&str, &str) -> bool) -> Option<Group> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("offshoot-{}-{count}", std::process::id());
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
        for mount in mounts.lines() {
            let [_, at, kind, options, ..] = mount.split(' ').collect::<Vec<_>>()[..] else {
                continue;
            };
            let path = Path::new(at).join(&name);
            if kind.starts_with("cgroup") && fits(kind, options) && fs::create_dir(&path).is_ok() {
                return Some(Group(path));
            }
        }
        eprintln!("skipped: no control group of that kind can be made");
        None
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What a process in it has in its `/proc/PID/cgroup`, among others.
    pub fn is_named_in(&self, groups: &str) -> bool {
        let name = self.0.file_name().expect("it has a name").to_string_lossy();
        groups.lines().any(|line| line.ends_with(&format!("/{name}")))
    }

    /// Takes a process of this test in.
    pub fn take_in(&self, pid: u32) {
        let procs = self.0.join("cgroup.procs");
        fs::write(procs, pid.to_string()).expect("who may make a group may fill it");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
