//! The body of a Fork: what a new process does first, in order, and how it goes on.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use super::{MAX_BODY, Malformed};

/// One thing that a new process does before it runs or serves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Arg(Vec<u8>),
    /// Takes the next queued descriptor, as do `Stdio` and `DirectoryFd`.
    Fd,
    Setup {
        name: String,
        args: Vec<Vec<u8>>,
    },
    Stdio(u8),
    Env {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    EnvRemove(Vec<u8>),
    EnvClear,
    Directory(Vec<u8>),
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
    Title(String),
    HugePages(bool),
}

/// How a new process goes on after its steps.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Serve,
    Run(String),
    Exec(Vec<Vec<u8>>),
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
const SERVE: u8 = 32;
const RUN: u8 = 33;
const EXEC: u8 = 34;

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn put_list(out: &mut Vec<u8>, list: &[Vec<u8>]) {
    out.extend((list.len() as u32).to_le_bytes());
    list.iter().for_each(|item| put_bytes(out, item));
}

impl Step {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Step::Arg(bytes) => Step::encode_arg(bytes, out),
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
        }
    }

    /// As `Step::Arg(..).encode(..)`, without owning what may be a gigabyte.
    pub(crate) fn encode_arg(bytes: &[u8], out: &mut Vec<u8>) {
        put(out, ARG, bytes);
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

impl End {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            End::Serve => out.push(SERVE),
            End::Run(name) => put(&mut out, RUN, name.as_bytes()),
            End::Exec(args) => {
                out.push(EXEC);
                put_list(&mut out, args);
            }
        }
        out
    }
}

/// Where a body is: in the datagram, or in an attached memory file.
#[derive(Debug)]
pub(crate) enum Body {
    Inline(Vec<u8>),
    File(OwnedFd),
}

/// The steps of a body, one after the other. Every length is checked against what
/// is there before anything is allocated for it.
pub(crate) enum Steps {
    Inline(Reader<io::Cursor<Vec<u8>>>),
    File(Reader<io::BufReader<File>>),
    Parsed(std::collections::VecDeque<Next>),
}

/// The next thing in a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Step(Step),
    End(End),
}

impl Steps {
    pub(crate) fn new(body: Body) -> io::Result<Steps> {
        Ok(match body {
            Body::Inline(bytes) => {
                let left = bytes.len() as u64;
                Steps::Inline(Reader { source: io::Cursor::new(bytes), left })
            }
            Body::File(fd) => {
                let (file, left) = crate::sys::memfd::open_sealed(fd)?;
                if left > MAX_BODY {
                    return Err(io::Error::from_raw_os_error(libc::E2BIG));
                }
                Steps::File(Reader { source: io::BufReader::new(file), left })
            }
        })
    }

    pub(crate) fn next(&mut self) -> Result<Next, Malformed> {
        match self {
            Steps::Inline(reader) => reader.next(),
            Steps::File(reader) => reader.next(),
            Steps::Parsed(all) => all.pop_front().ok_or(Malformed("cut short")),
        }
    }

    /// All of the body, which stays to be taken by `next`.
    pub(crate) fn peek(&mut self) -> Result<&[Next], Malformed> {
        let mut all = std::collections::VecDeque::new();
        loop {
            let next = self.next()?;
            let is_end = matches!(next, Next::End(_));
            all.push_back(next);
            if is_end {
                break;
            }
        }
        *self = Steps::Parsed(all);
        match self {
            Steps::Parsed(all) => Ok(all.make_contiguous()),
            _ => unreachable!("just made so"),
        }
    }
}

/// Reads fields out of bytes that nobody vouches for.
pub(crate) struct Reader<R> {
    source: R,
    left: u64,
}

impl<'a> Reader<&'a [u8]> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { left: bytes.len() as u64, source: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.source
    }
}

impl<R: Read> Reader<R> {
    pub(super) fn is_empty(&self) -> bool {
        self.left == 0
    }

    fn exact<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.left = self.left.checked_sub(N as u64).ok_or(Malformed("cut short"))?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(|_| Malformed("cut short"))?;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.exact::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.exact()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.exact()?))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        let len = self.u64()?;
        self.left = self.left.checked_sub(len).ok_or(Malformed("a length beyond the end"))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len as usize).map_err(|_| Malformed("no memory for it"))?;
        let got = self.source.by_ref().take(len).read_to_end(&mut bytes);
        if got.ok() == Some(len as usize) { Ok(bytes) } else { Err(Malformed("cut short")) }
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?).map_err(|_| Malformed("a name that is not UTF-8"))
    }

    fn list(&mut self) -> Result<Vec<Vec<u8>>, Malformed> {
        let count = self.u32()?;
        // Each item takes at least its length field.
        if u64::from(count) > self.left / 8 {
            return Err(Malformed("a length beyond the end"));
        }
        (0..count).map(|_| self.bytes()).collect()
    }

    fn next(&mut self) -> Result<Next, Malformed> {
        let step = match self.u8()? {
            ARG => Step::Arg(self.bytes()?),
            FD => Step::Fd,
            SETUP => Step::Setup { name: self.text()?, args: self.list()? },
            STDIO => match self.u8()? {
                n @ 0..=2 => Step::Stdio(n),
                _ => return Err(Malformed("no such standard stream")),
            },
            ENV => Step::Env { key: self.bytes()?, value: self.bytes()? },
            ENV_REMOVE => Step::EnvRemove(self.bytes()?),
            ENV_CLEAR => Step::EnvClear,
            DIRECTORY => Step::Directory(self.bytes()?),
            DIRECTORY_FD => Step::DirectoryFd,
            LIMIT => Step::Limit { resource: self.u32()?, soft: self.u64()?, hard: self.u64()? },
            UMASK => Step::Umask(self.u32()?),
            NICE => Step::Nice(self.u32()? as i32),
            GROUP => Step::Group(self.u32()? as i32),
            GID => Step::Gid(self.u32()?),
            UID => Step::Uid(self.u32()?),
            DEATH_SIGNAL => Step::DeathSignal(self.u32()? as i32),
            TITLE => Step::Title(self.text()?),
            HUGE_PAGES => Step::HugePages(self.u8()? != 0),
            tag => return self.end(tag).map(Next::End),
        };
        Ok(Next::Step(step))
    }

    fn end(&mut self, tag: u8) -> Result<End, Malformed> {
        let end = match tag {
            SERVE => End::Serve,
            RUN => End::Run(self.text()?),
            EXEC => match self.list()? {
                args if args.is_empty() => return Err(Malformed("no program to execute")),
                args => End::Exec(args),
            },
            _ => return Err(Malformed("an unknown step")),
        };
        if self.is_empty() { Ok(end) } else { Err(Malformed("bytes after the end")) }
    }
}
