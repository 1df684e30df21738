//! What is told in the end.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::supervise::{Ending, Outcome};

/// The last line.
pub(crate) struct Summary {
    good: usize,
    bad: usize,
    time: Duration,
}

impl Summary {
    /// Counts.
    pub(crate) fn of(results: &[Outcome], time: Duration) -> Summary {
        let good = results.iter().filter(|r| r.end.is_ok()).count();
        Summary { good, bad: results.len() - good, time }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { good, bad, time } = self;
        let (files, thumbnails) = (plural(good + bad, "file"), plural(*good, "thumbnail"));
        write!(f, "{files} in {:.2} s: {thumbnails}, {bad} bad", time.as_secs_f64())
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

impl Ending {
    /// In a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Ending::Error(_) => "error",
            Ending::Crash(status, _) if status.signal().is_some() => "signal",
            Ending::Crash(..) => "exit",
            Ending::Limit(..) => "limit",
            Ending::Timeout(_) => "timeout",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Error(text) => f.write_str(text),
            Ending::Crash(status, words) if words.is_empty() => status.fmt(f),
            Ending::Crash(status, words) => write!(f, "{status}, {words}"),
            Ending::Limit(status, words, mib) => {
                write!(f, "{status}, {words} under a limit of {mib} MiB")
            }
            Ending::Timeout(deadline) => {
                write!(f, "killed after {:.1} s", deadline.as_secs_f64())
            }
        }
    }
}

/// The bad files, and the summary.
pub(crate) fn print(results: &[Outcome], summary: &Summary) {
    let bad: Vec<_> =
        results.iter().filter_map(|r| Some((&r.picture.name, r.end.as_ref().err()?))).collect();
    let width = bad.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, ending) in bad {
        println!("{name:width$}  {:7}  {ending}", ending.kind());
    }
    println!("{summary}");
}
