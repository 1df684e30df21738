//! Creating processes: one after the other, several at once, and how soon one speaks.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Child, Process, Start};

use crate::case::{Against, Case, Program, Work, all_of, timed};
use crate::plain::{self, Ending, Forked};
use crate::{Error, Result};

pub(super) const PLAIN: &str = "plain fork, exit, waitpid";
const AT_ONCE: &str = "plain fork, _exit, waitpid";
const OURS: &str = "offshoot: run an empty entry, wait";
const LARGE: &str = "offshoot, under the large program";
const PLAIN_8: &str = "plain fork, 8 in flight";
const PLAIN_LINE: &str = "plain fork: until its first line";
pub(super) const PLAIN_LINE_APART: &str = "plain fork, 1 ms after the last";
pub(super) const ONE: &str = "create, run, learn the status; one after the other";

/// Time to sleep in between, where that counts.
pub(super) const APART: Duration = Duration::from_millis(1);

pub(crate) fn cases() -> Vec<Case> {
    use Program::{Large, Small};
    let case = |group, name, program, prepare, against, goal| Case {
        group,
        name,
        program,
        prepare,
        against,
        goal,
    };
    let eight = "the same, 8 in flight";
    let line = "until the first line from the new process";
    vec![
        case(ONE, PLAIN, Small, plain_one, Against::Nothing, ""),
        case(ONE, AT_ONCE, Small, at_once, Against::Rate(PLAIN), ""),
        case(ONE, OURS, Small, ours_one, Against::Rate(PLAIN), "at least 0.70"),
        case(ONE, LARGE, Large, ours_one, Against::Rate(OURS), "at least 0.95"),
        case(ONE, "plain fork of the large program", Large, at_once, Against::Rate(PLAIN), ""),
        case(eight, PLAIN_8, Small, plain_eight, Against::Rate(PLAIN), ""),
        case(eight, "offshoot, 8 in flight", Small, ours_eight, Against::Rate(PLAIN_8), ""),
        case(line, PLAIN_LINE, Small, || plain_line(Duration::ZERO), Against::Nothing, ""),
        case(line, PLAIN_LINE_APART, Small, || plain_line(APART), Against::Nothing, ""),
        case(
            line,
            "offshoot: until its first line",
            Small,
            ours_line,
            Against::Rate(PLAIN_LINE),
            "",
        ),
    ]
}

#[offshoot::entry]
pub(crate) fn empty(_: Start) {}

#[offshoot::entry]
fn speak(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(b"!")
}

pub(crate) fn ended_well(child: &Child) -> Result<()> {
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

fn plain_one() -> Result<Work> {
    all_of(|| Ok(plain::fork(None, Ending::Exit)?.wait()?))
}

fn at_once() -> Result<Work> {
    all_of(|| Ok(plain::fork(None, Ending::AtOnce)?.wait()?))
}

fn ours_one() -> Result<Work> {
    all_of(|| ended_well(&Process::new()?.run(empty)?))
}

/// Keeps eight running: the oldest is waited for when the next one starts.
fn eight<T: 'static>(
    start: impl Fn() -> Result<T> + 'static,
    wait: impl Fn(T) -> Result<()> + 'static,
) -> Result<Work> {
    const MANY: u32 = 200;
    Ok(Box::new(move || {
        let begin = Instant::now();
        let mut running = VecDeque::new();
        for _ in 0..MANY {
            if running.len() == 8 {
                running.pop_front().map_or(Ok(()), &wait)?;
            }
            running.push_back(start()?);
        }
        running.into_iter().try_for_each(&wait)?;
        Ok(begin.elapsed() / MANY)
    }))
}

fn plain_eight() -> Result<Work> {
    eight(|| Ok(plain::fork(None, Ending::AtOnce)?), |forked: Forked| Ok(forked.wait()?))
}

fn ours_eight() -> Result<Work> {
    eight(|| Ok(Process::new()?.run(empty)?), |child| ended_well(&child))
}

fn plain_line(apart: Duration) -> Result<Work> {
    Ok(Box::new(move || {
        thread::sleep(apart);
        let (time, forked) = timed(|| {
            let (mut near, far) = UnixStream::pair()?;
            let forked = plain::fork(Some(&plain::file(far.as_fd())?), Ending::AtOnce)?;
            drop(far);
            near.read_exact(&mut [0])?;
            Ok(forked)
        })?;
        forked.wait()?;
        Ok(time)
    }))
}

fn ours_line() -> Result<Work> {
    Ok(Box::new(|| {
        let (time, child) = timed(|| -> Result<Child> {
            let child = Process::new()?.run(speak)?;
            child.stream().read_exact(&mut [0])?;
            Ok(child)
        })?;
        ended_well(&child)?;
        Ok::<Duration, Error>(time)
    }))
}
