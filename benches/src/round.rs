//! Rounds: every case once in each, so that all see the same weather.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::case::{Case, Program, Skipped};
use crate::program::{Running, Sample, median};
use crate::{Options, Result, cases};

/// What came of a case in all rounds.
#[derive(Default)]
pub(crate) struct Measured {
    /// In nanoseconds, one for each round.
    pub(crate) times: Vec<f64>,
    /// How often it was done, in all.
    pub(crate) count: usize,
    pub(crate) failed: Option<String>,
    pub(crate) skipped: Option<String>,
}

impl Measured {
    pub(crate) fn median(&self) -> f64 {
        median(&mut self.times.clone())
    }

    /// Median of what `compare` makes of the two in each round.
    pub(crate) fn compared(&self, with: &Measured, compare: fn(f64, f64) -> f64) -> f64 {
        let pairs = self.times.iter().zip(&with.times);
        median(&mut pairs.map(|(a, b)| compare(*a, *b)).collect::<Vec<_>>())
    }
}

pub(crate) fn all(selected: &[Case], options: &Options) -> Result<Vec<Measured>> {
    let indices: Vec<usize> = {
        let all = cases::all();
        selected.iter().filter_map(|s| all.iter().position(|c| c.name == s.name)).collect()
    };
    let (megabytes, limit) = if options.quick { (256, 20) } else { (2048, 400) };
    let limit = Duration::from_millis(limit);
    println!("large program: {megabytes} MB touched, 8 idle threads more");
    let mut programs: Vec<(Program, Running)> = Vec::new();
    for case in selected {
        if !programs.iter().any(|(program, _)| *program == case.program) {
            programs.push((case.program, Running::start(case.program, megabytes)?));
        }
    }
    let mut measured: Vec<Measured> = selected.iter().map(|_| Measured::default()).collect();
    for round in 0..options.rounds {
        for ((case, index), measured) in selected.iter().zip(&indices).zip(&mut measured) {
            progress(&format!("round {} of {}: {}", round + 1, options.rounds, case.name));
            if measured.skipped.is_some() {
                continue;
            }
            let program = programs.iter_mut().find(|(program, _)| *program == case.program);
            let (_, program) = program.ok_or("it was started")?;
            match program.measure(*index, limit) {
                Ok(Sample { median, count }) => {
                    measured.times.push(median);
                    measured.count += count;
                }
                Err(error) if error.is::<Skipped>() => measured.skipped = Some(error.to_string()),
                Err(error) => measured.failed = Some(error.to_string()),
            }
        }
    }
    progress("");
    programs.into_iter().try_for_each(|(_, program)| program.end())?;
    Ok(measured)
}

fn progress(text: &str) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    }
}
