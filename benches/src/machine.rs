//! The machine and the build, for the head of the table.

use std::fs::read_to_string;
use std::thread::available_parallelism;

fn line(path: &str) -> String {
    read_to_string(path).unwrap_or_default().lines().next().unwrap_or("?").to_owned()
}

fn cpu() -> String {
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    model.map_or(std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
}

pub(crate) fn describe() -> String {
    let cpus = available_parallelism().map_or(0, usize::from);
    let load = line("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let linkage = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    let libc = if cfg!(target_env = "musl") { "musl" } else { "glibc" };
    let build = if cfg!(debug_assertions) { "DEBUG build" } else { "release build" };
    format!(
        "{}, {cpus} CPUs, Linux {}, load {load}; {build}, {libc}, {linkage}; \
         transparent huge pages: {}",
        cpu(),
        line("/proc/sys/kernel/osrelease"),
        line("/sys/kernel/mm/transparent_hugepage/enabled"),
    )
}
