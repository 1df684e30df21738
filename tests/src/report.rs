//! What a process can tell about itself, as lines of text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

/// Everything that configuration steps can set, one `key: value` a line.
pub fn of_this_process() -> String {
    let mut out = String::new();
    let mut put = |key: &str, value: &dyn std::fmt::Display| {
        writeln!(out, "{key}: {value}").expect("a String takes it");
    };
    for (key, value) in std::env::vars() {
        put(&format!("env {key}"), &value.replace('\n', " "));
    }
    put("directory", &std::env::current_dir().map_or("?".into(), |d| d.display().to_string()));
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    for line in status.lines() {
        let (key, value) = line.split_once(':').expect("as in proc(5)");
        put(key, &value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    for line in fs::read_to_string("/proc/self/limits").expect("/proc").lines().skip(1) {
        let (name, rest) = line.split_at(26);
        let values: Vec<&str> = rest.split_whitespace().take(2).collect();
        put(name.trim(), &values.join(" "));
    }
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("as in proc(5)").1.split(' ').collect();
    put("group", &fields[2]);
    put("nice", &fields[16]);
    let line = fs::read("/proc/self/cmdline").expect("/proc");
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    put("title", &line.trim_end());
    put("arguments", &format_args!("{:?}", std::env::args().collect::<Vec<_>>()));
    for fd in crate::open_fds() {
        let link = fs::read_link(format!("/proc/self/fd/{fd}"));
        put(&format!("fd {fd}"), &link.map_or("?".into(), |l| l.display().to_string()));
    }
    out
}

/// A report, taken apart.
#[derive(Debug)]
pub struct Report(BTreeMap<String, String>);

impl Report {
    /// Of these lines.
    pub fn parse(text: &str) -> Report {
        let lines = text
            .lines()
            .filter_map(|l| l.split_once(": ").or(l.strip_suffix(':').map(|k| (k, ""))));
        Report(lines.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// A value that has to be there.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("no {key} in {self:#?}"))
    }

    /// An environment variable, if it is set.
    pub fn env(&self, key: &str) -> Option<&str> {
        self.0.get(&format!("env {key}")).map(String::as_str)
    }

    /// All resource limits, soft and hard, by what proc(5) calls them.
    pub fn limits(&self) -> BTreeMap<&str, &str> {
        let limits = self.0.iter().filter(|(k, _)| k.starts_with("Max "));
        limits.map(|(k, v)| (k.as_str(), v.as_str())).collect()
    }

    /// How many environment variables there are.
    pub fn env_count(&self) -> usize {
        self.0.keys().filter(|k| k.starts_with("env ")).count()
    }

    /// The numbers of the open descriptors.
    pub fn fds(&self) -> Vec<i32> {
        let mut fds: Vec<i32> =
            self.0.keys().filter_map(|k| k.strip_prefix("fd ")?.parse().ok()).collect();
        fds.sort_unstable();
        fds
    }
}
