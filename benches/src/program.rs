//! The programs that the cases run in: this one, started again, which does what it
//! is told on its standard input. So the small one stays small while the large one
//! is there, and both are measured in turn.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::{Case, Program, Skipped, Work};
use crate::{Result, cases};

/// First argument of a program that serves.
pub(crate) const OPTION: &str = "--program";

/// At least so many times, whatever the time.
const FEWEST: usize = 5;

/// What came of doing something again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Median of all times, in nanoseconds.
    pub(crate) median: f64,
    pub(crate) count: usize,
}

/// `MEGABYTES`; then on standard input a line `INDEX MILLISECONDS` for each
/// measurement, answered by `MEDIAN COUNT`, by `! ERROR`, or by `- WHY` if it is left out.
pub(crate) fn serve(mut args: impl Iterator<Item = String>) -> Result<()> {
    let megabytes: usize = args.next().ok_or("how large?")?.parse()?;
    let _memory = grow(megabytes);
    let cases = cases::all();
    let mut prepared = BTreeMap::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        let (index, millis) = line.split_once(' ').ok_or("INDEX MILLISECONDS")?;
        let limit = Duration::from_millis(millis.parse()?);
        match sample(&cases, index.parse()?, &mut prepared, limit) {
            Ok(Sample { median, count }) => println!("{median} {count}"),
            Err(error) => {
                let sign = if error.is::<Skipped>() { '-' } else { '!' };
                println!("{sign} {}", error.to_string().replace('\n', " "));
            }
        }
    }
    Ok(())
}

/// Writes to every page of so much memory, and starts eight threads that sleep.
fn grow(megabytes: usize) -> Vec<u8> {
    if megabytes > 0 {
        for _ in 0..8 {
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
        }
    }
    vec![1; megabytes << 20]
}

fn sample(
    cases: &[Case],
    index: usize,
    prepared: &mut BTreeMap<usize, Work>,
    limit: Duration,
) -> Result<Sample> {
    if let std::collections::btree_map::Entry::Vacant(vacant) = prepared.entry(index) {
        let mut work = (cases.get(index).ok_or("no such case")?.prepare)()?;
        // The first time is different for everybody.
        for _ in 0..FEWEST {
            work()?;
        }
        vacant.insert(work);
    }
    let work = prepared.get_mut(&index).ok_or("prepared above")?;
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < FEWEST || start.elapsed() < limit {
        times.push(work()?.as_nanos() as f64);
    }
    Ok(Sample { median: median(&mut times), count: times.len() })
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// The other side: a program that has been started.
pub(crate) struct Running {
    child: Child,
    told: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(program: Program, megabytes: usize) -> Result<Running> {
        let megabytes = if program == Program::Large { megabytes } else { 0 };
        let mut command = Command::new(std::env::current_exe()?);
        if program == Program::Respawned {
            command.env("OFFSHOOT_EARLY", "0");
        }
        let mut child = command
            .args([OPTION, &megabytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let told = child.stdin.take().ok_or("it is piped")?;
        let answers = BufReader::new(child.stdout.take().ok_or("it is piped")?).lines();
        Ok(Running { child, told, answers })
    }

    pub(crate) fn measure(&mut self, index: usize, limit: Duration) -> Result<Sample> {
        writeln!(self.told, "{index} {}", limit.as_millis())?;
        let answer = self.answers.next().ok_or("the program has ended")??;
        if let Some(error) = answer.strip_prefix("! ") {
            return Err(error.into());
        }
        if let Some(why) = answer.strip_prefix("- ") {
            return Err(Skipped(why.to_owned()).into());
        }
        let (median, count) = answer.split_once(' ').ok_or("MEDIAN COUNT")?;
        Ok(Sample { median: median.parse()?, count: count.parse()? })
    }

    pub(crate) fn end(mut self) -> Result<()> {
        drop(self.told);
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("a program ended: {status}").into()) }
    }
}
