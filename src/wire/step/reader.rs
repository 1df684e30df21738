//! Reading a body, of which nobody vouches for a byte.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::OwnedFd;

use super::*;
use crate::sys::{memfd, queued};
use crate::wire::{MAX_BODY, Malformed, NO_MEMORY};

/// The steps of a body, one after the other. Every length is checked against what
/// is there before anything is allocated for it.
pub(crate) enum Steps {
    Inline { datagram: Box<[u8]>, body: Range<usize> },
    File(Reader<FileSource>),
    Parsed(VecDeque<Next<'static>>),
}

/// The next thing in a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    Step(Step<'a>),
    End(End<'a>),
}

impl Steps {
    pub(in crate::wire) fn inline(datagram: Box<[u8]>, body: Range<usize>) -> Steps {
        Steps::Inline { datagram, body }
    }

    /// In a memory file, or in the queue of a socket.
    pub(in crate::wire) fn in_file(fd: OwnedFd) -> io::Result<Steps> {
        if queued::is_socket(&fd) {
            let bytes = queued::take(&fd)?;
            let body = 0..bytes.len();
            return Ok(Steps::inline(bytes.into(), body));
        }
        let (file, left) = memfd::open_sealed(fd)?;
        if left > MAX_BODY {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        Ok(Steps::File(Reader { source: FileSource(io::BufReader::new(file)), left }))
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Result<Next<'_>, Malformed> {
        match self {
            Steps::Inline { datagram, body } => {
                let mut reader = Reader::new(&datagram[body.clone()]);
                let next = reader.next()?;
                body.start = body.end - reader.source.len();
                Ok(next)
            }
            Steps::File(reader) => reader.next(),
            Steps::Parsed(all) => all.pop_front().ok_or(Malformed("cut short")),
        }
    }

    /// All of the body, which stays to be taken by `next`.
    pub(crate) fn peek(&mut self) -> Result<&[Next<'static>], Malformed> {
        let mut all = VecDeque::new();
        loop {
            let next = self.next()?.into_owned();
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

/// The name of an entry to run, if there is nothing else in the body.
pub(in crate::wire) fn only_run(body: &[u8]) -> Option<&[u8]> {
    if body.first() != Some(&RUN) {
        return None;
    }
    match Reader::new(body).next() {
        Ok(Next::End(End::Run(Cow::Borrowed(name)))) => Some(name),
        _ => None,
    }
}

impl Next<'_> {
    fn into_owned(self) -> Next<'static> {
        // Encoding is the one way that knows all the fields.
        let mut bytes = Vec::new();
        match &self {
            Next::Step(step) => step.encode(&mut bytes),
            Next::End(end) => bytes = end.encode(),
        }
        let left = bytes.len() as u64;
        let mut reader = Reader { source: OwnedSource(io::Cursor::new(bytes)), left };
        reader.next().expect("what was read once can be read again")
    }
}

/// Where a reader takes its bytes from.
pub(crate) trait Source<'a> {
    /// Exactly so many: there are, by what the reader knows.
    fn take(&mut self, len: usize) -> Result<Bytes<'a>, Malformed>;
}

impl<'a> Source<'a> for &'a [u8] {
    fn take(&mut self, len: usize) -> Result<Bytes<'a>, Malformed> {
        self.split_off(..len).map(Cow::Borrowed).ok_or(CUT_SHORT)
    }
}

pub(crate) struct FileSource(io::BufReader<File>);
struct OwnedSource(io::Cursor<Vec<u8>>);

const CUT_SHORT: Malformed = Malformed("cut short");

fn read_exact(source: impl Read, len: usize) -> Result<Bytes<'static>, Malformed> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| NO_MEMORY)?;
    let got = source.take(len as u64).read_to_end(&mut bytes).map_err(|_| CUT_SHORT)?;
    if got == len { Ok(Cow::Owned(bytes)) } else { Err(CUT_SHORT) }
}

impl<'a> Source<'a> for FileSource {
    fn take(&mut self, len: usize) -> Result<Bytes<'a>, Malformed> {
        read_exact(&mut self.0, len)
    }
}

impl Source<'static> for OwnedSource {
    fn take(&mut self, len: usize) -> Result<Bytes<'static>, Malformed> {
        read_exact(&mut self.0, len)
    }
}

/// Reads fields out of bytes that nobody vouches for.
pub(crate) struct Reader<S> {
    source: S,
    left: u64,
}

impl<'a> Reader<&'a [u8]> {
    pub(in crate::wire) fn new(bytes: &'a [u8]) -> Self {
        Reader { left: bytes.len() as u64, source: bytes }
    }

    pub(in crate::wire) fn rest(&self) -> &'a [u8] {
        self.source
    }
}

impl<S> Reader<S> {
    pub(in crate::wire) fn is_empty(&self) -> bool {
        self.left == 0
    }

    fn take<'a>(&mut self, len: u64) -> Result<Bytes<'a>, Malformed>
    where
        S: Source<'a>,
    {
        self.left = self.left.checked_sub(len).ok_or(Malformed("a length beyond the end"))?;
        self.source.take(len as usize)
    }

    fn number<'a, const N: usize>(&mut self) -> Result<[u8; N], Malformed>
    where
        S: Source<'a>,
    {
        let bytes = self.take(N as u64)?;
        let mut number = [0; N];
        number.copy_from_slice(&bytes);
        Ok(number)
    }

    pub(in crate::wire) fn u8<'a>(&mut self) -> Result<u8, Malformed>
    where
        S: Source<'a>,
    {
        Ok(self.number::<1>()?[0])
    }

    pub(in crate::wire) fn u32<'a>(&mut self) -> Result<u32, Malformed>
    where
        S: Source<'a>,
    {
        Ok(u32::from_le_bytes(self.number()?))
    }

    pub(in crate::wire) fn u64<'a>(&mut self) -> Result<u64, Malformed>
    where
        S: Source<'a>,
    {
        Ok(u64::from_le_bytes(self.number()?))
    }

    fn bytes<'a>(&mut self) -> Result<Bytes<'a>, Malformed>
    where
        S: Source<'a>,
    {
        let len = self.u64()?;
        self.take(len)
    }

    pub(in crate::wire) fn text<'a>(&mut self) -> Result<Text<'a>, Malformed>
    where
        S: Source<'a>,
    {
        let wrong = Malformed("a name that is not UTF-8");
        match self.bytes()? {
            Cow::Borrowed(bytes) => {
                std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| wrong)
            }
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| wrong),
        }
    }

    fn list<'a>(&mut self) -> Result<Vec<Bytes<'a>>, Malformed>
    where
        S: Source<'a>,
    {
        let count = self.u32()?;
        // Each item takes at least its length field.
        if u64::from(count) > self.left / 8 {
            return Err(Malformed("a length beyond the end"));
        }
        (0..count).map(|_| self.bytes()).collect()
    }

    fn next<'a>(&mut self) -> Result<Next<'a>, Malformed>
    where
        S: Source<'a>,
    {
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
            CPUS => Step::Cpus(self.bytes()?),
            CGROUP => Step::Cgroup(self.bytes()?),
            tag => return self.end(tag).map(Next::End),
        };
        Ok(Next::Step(step))
    }

    fn end<'a>(&mut self, tag: u8) -> Result<End<'a>, Malformed>
    where
        S: Source<'a>,
    {
        let end = match tag {
            SERVE => End::Serve,
            RUN => End::Run(self.bytes()?),
            EXEC => match self.list()? {
                args if args.is_empty() => return Err(Malformed("no program to execute")),
                args => End::Exec(args),
            },
            _ => return Err(Malformed("an unknown step")),
        };
        if self.is_empty() { Ok(end) } else { Err(Malformed("bytes after the end")) }
    }
}
