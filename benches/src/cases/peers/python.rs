//! Pools: Python's `ProcessPoolExecutor`, if there is a Python.

use std::io::{BufRead, BufReader, ErrorKind, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::case::{Against, Case, Program, Skipped, Work};
use crate::cases::pools::{COMPUTE, EMPTY, SINGLE, TASKS, THREADS};

const SCRIPT: &str = include_str!("pool.py");

pub(crate) fn cases() -> Vec<Case> {
    let case = |group, name, prepare, against| Case {
        group,
        name,
        program: Program::Calls,
        prepare,
        against,
        goal: "",
    };
    let nothing = Against::Nothing;
    vec![
        case(EMPTY, "Python's executor", || python("nothing", 1000, 1), nothing),
        case(EMPTY, "Python's, 1,000 in a chunk", || python("nothing", 50_000, 1000), nothing),
        case(
            COMPUTE,
            "Python's executor, 1 ms",
            || python("compute", TASKS, 1),
            Against::Rate(THREADS),
        ),
        case(SINGLE, "one call of Python's executor", || python("single", 100, 1), nothing),
    ]
}

/// Ends when its standard input is closed.
struct Python {
    child: Child,
    told: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Python {
    fn measure(&mut self) -> Result<Duration> {
        writeln!(self.told.as_mut().ok_or("it is open")?)?;
        let nanos = self.answers.next().ok_or("Python has ended")??;
        Ok(Duration::from_nanos(nanos.parse()?))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.told.take());
        let _ = self.child.wait();
    }
}

fn python(kind: &str, count: u32, chunk: u32) -> Result<Work> {
    let started = Command::new("python3")
        .args(["-c", SCRIPT, kind, &count.to_string(), &chunk.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match started {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(Skipped("there is no python3".to_owned()).into());
        }
        started => started?,
    };
    let told = child.stdin.take();
    let answers = BufReader::new(child.stdout.take().ok_or("it is piped")?).lines();
    let mut python = Python { child, told, answers };
    Ok(Box::new(move || python.measure()))
}
