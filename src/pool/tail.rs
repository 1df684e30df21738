//! The end of what a worker writes to standard error.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::Error;
use crate::home::Home;
use crate::hub::{Interest, Watched};

/// Bytes that are kept.
const KEPT: usize = 4096;
/// Bytes that are read before others have their turn.
const TURN: usize = 64 * 1024;

/// The reading end of a pipe, looked after by the hub, so that whoever writes never waits
/// for long.
pub(super) struct Tail {
    home: &'static Home,
    pipe: io::PipeReader,
    hub_key: AtomicU64,
    ended: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: VecDeque<u8>,
    /// There was more before.
    cut: bool,
}

impl Kept {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let over = self.bytes.len().saturating_sub(KEPT);
        self.cut |= over > 0;
        self.bytes.drain(..over);
    }

    /// From the first whole line on.
    fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let text = match text.split_once('\n') {
            Some((_, rest)) if self.cut && !rest.is_empty() => rest,
            _ => &text,
        };
        text.trim_end().to_owned()
    }
}

impl Tail {
    /// A tail, and the end to write to.
    pub(super) fn new(home: &'static Home) -> Result<(Arc<Tail>, io::PipeWriter), Error> {
        let made = io::pipe().and_then(|(reader, writer)| {
            fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            let reader = crate::sys::fds::above_stdio(OwnedFd::from(reader))?;
            Ok((io::PipeReader::from(reader), writer))
        });
        let (pipe, writer) = made.map_err(Error::system("making a pipe for standard error"))?;
        let tail = Arc::new(Tail {
            home,
            pipe,
            hub_key: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            kept: Mutex::default(),
        });
        home.hub_add(&(Arc::clone(&tail) as Arc<dyn Watched>))?;
        tail.arm();
        Ok((tail, writer))
    }

    /// Reads what is there; what is written meanwhile, up to a limit.
    pub(super) fn read_rest(&self) {
        let mut buffer = [0; 4096];
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        let mut read = 0;
        while read < TURN && !self.ended.load(Ordering::Acquire) {
            match (&self.pipe).read(&mut buffer) {
                Ok(0) => self.ended.store(true, Ordering::Release),
                Ok(count) => {
                    kept.add(&buffer[..count]);
                    read += count;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended.store(true, Ordering::Release),
            }
        }
    }

    pub(super) fn text(&self) -> String {
        self.kept.lock().unwrap_or_else(|e| e.into_inner()).text()
    }

    fn arm(&self) {
        if !self.ended.load(Ordering::Acquire) {
            self.home.hub_set(self, Interest { read: true, write: false });
        }
    }
}

impl Watched for Tail {
    fn socket(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    fn hub_key(&self) -> &AtomicU64 {
        &self.hub_key
    }

    fn hub_event(self: Arc<Tail>) {
        self.read_rest();
        self.arm();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_kept() {
        let mut kept = Kept::default();
        kept.add(b"one\ntwo\n");
        assert_eq!(kept.text(), "one\ntwo");
        for n in 0..1000 {
            kept.add(format!("line {n:03}\n").as_bytes());
        }
        let text = kept.text();
        assert!(text.len() <= KEPT && text.len() > KEPT - 20);
        assert!(text.starts_with("line ") && text.ends_with("line 999"));
        assert_eq!(text.lines().next().map(str::len), Some(8));
    }

    #[test]
    fn one_long_line_is_cut() {
        let mut kept = Kept::default();
        kept.add(&[b'x'; 10_000]);
        kept.add(b"end\n");
        assert_eq!(kept.text().len(), KEPT - 1);
    }
}
