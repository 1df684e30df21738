//! The body of a Fork: what a new process does first, in order, and how it goes on.

use std::borrow::Cow;
mod reader;
pub(crate) use reader::{Next, Steps};
pub(super) use reader::{Reader, only_run};

/// Bytes of a body: where they lie, if that is in memory.
pub(crate) type Bytes<'a> = Cow<'a, [u8]>;
pub(crate) type Text<'a> = Cow<'a, str>;

/// One thing that a new process does before it runs or serves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Arg(Bytes<'a>),
    /// Takes the next queued descriptor, as do `Stdio` and `DirectoryFd`.
    Fd,
    Setup {
        name: Text<'a>,
        args: Vec<Bytes<'a>>,
    },
    Stdio(u8),
    Env {
        key: Bytes<'a>,
        value: Bytes<'a>,
    },
    EnvRemove(Bytes<'a>),
    EnvClear,
    Directory(Bytes<'a>),
    DirectoryFd,
    Limit {
        resource: u32,
        soft: u64,
        hard: u64,
    },
    Umask(u32),
    Nice(i32),
    Group(i32),
    Gid(u32),
    Uid(u32),
    DeathSignal(i32),
    Title(Text<'a>),
    HugePages(bool),
    /// One bit for each CPU, the first in the lowest bit of the first byte.
    Cpus(Bytes<'a>),
    /// The directory of a control group.
    Cgroup(Bytes<'a>),
}

/// How a new process goes on after its steps.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End<'a> {
    Serve,
    /// Runs the entry of this name.
    Run(Bytes<'a>),
    Exec(Vec<Bytes<'a>>),
}

// One table for both directions.
const ARG: u8 = 1;
const FD: u8 = 2;
const SETUP: u8 = 3;
const STDIO: u8 = 4;
const ENV: u8 = 5;
const ENV_REMOVE: u8 = 6;
const ENV_CLEAR: u8 = 7;
const DIRECTORY: u8 = 8;
const DIRECTORY_FD: u8 = 9;
const LIMIT: u8 = 10;
const UMASK: u8 = 11;
const NICE: u8 = 12;
const GROUP: u8 = 13;
const GID: u8 = 14;
const UID: u8 = 15;
const DEATH_SIGNAL: u8 = 16;
const TITLE: u8 = 17;
const HUGE_PAGES: u8 = 18;
const CPUS: u8 = 19;
const CGROUP: u8 = 20;
const SERVE: u8 = 32;
const RUN: u8 = 33;
const EXEC: u8 = 34;

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn put_list(out: &mut Vec<u8>, list: &[Bytes<'_>]) {
    out.extend((list.len() as u32).to_le_bytes());
    list.iter().for_each(|item| put_bytes(out, item));
}

impl Step<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Step::Arg(bytes) => put(out, ARG, bytes),
            Step::Fd => out.push(FD),
            Step::Setup { name, args } => {
                out.push(SETUP);
                put_bytes(out, name.as_bytes());
                put_list(out, args);
            }
            Step::Stdio(n) => out.extend([STDIO, *n]),
            Step::Env { key, value } => {
                out.push(ENV);
                put_bytes(out, key);
                put_bytes(out, value);
            }
            Step::EnvRemove(key) => put(out, ENV_REMOVE, key),
            Step::EnvClear => out.push(ENV_CLEAR),
            Step::Directory(path) => put(out, DIRECTORY, path),
            Step::DirectoryFd => out.push(DIRECTORY_FD),
            Step::Limit { resource, soft, hard } => {
                put_u32(out, LIMIT, *resource);
                out.extend(soft.to_le_bytes());
                out.extend(hard.to_le_bytes());
            }
            Step::Umask(n) => put_u32(out, UMASK, *n),
            Step::Nice(n) => put_u32(out, NICE, *n as u32),
            Step::Group(n) => put_u32(out, GROUP, *n as u32),
            Step::Gid(n) => put_u32(out, GID, *n),
            Step::Uid(n) => put_u32(out, UID, *n),
            Step::DeathSignal(n) => put_u32(out, DEATH_SIGNAL, *n as u32),
            Step::Title(text) => put(out, TITLE, text.as_bytes()),
            Step::HugePages(on) => out.extend([HUGE_PAGES, u8::from(*on)]),
            Step::Cpus(set) => put(out, CPUS, set),
            Step::Cgroup(path) => put(out, CGROUP, path),
        }
    }
}

fn put(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_bytes(out, bytes);
}

fn put_u32(out: &mut Vec<u8>, tag: u8, n: u32) {
    out.push(tag);
    out.extend(n.to_le_bytes());
}

impl End<'_> {
    /// Bytes that it takes.
    pub(crate) fn len(&self) -> usize {
        self.encode().len()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            End::Serve => out.push(SERVE),
            End::Run(name) => put(&mut out, RUN, name),
            End::Exec(args) => {
                out.push(EXEC);
                put_list(&mut out, args);
            }
        }
        out
    }
}
