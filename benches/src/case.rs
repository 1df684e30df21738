//! What a case is.

use std::fmt;
use std::time::{Duration, Instant};

use crate::Result;

/// The program that a case runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// One thread, and hardly any memory.
    Small,
    /// Eight more threads, and much memory that has been written to.
    Large,
    /// Small too, but its cases may start threads.
    Calls,
    /// The same without a template of this library, which is not to make it slower that
    /// another one starts the program again.
    Respawned,
}

/// Why a case was left out.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// Done once; returns what is then done again and again, and how long the part of it
/// that counts has taken.
pub(crate) type Prepare = fn() -> Result<Work>;
pub(crate) type Work = Box<dyn FnMut() -> Result<Duration>>;

/// What a case is compared with.
#[derive(Clone, Copy)]
pub(crate) enum Against {
    Nothing,
    /// How many of these in the time of one of those: more is better.
    Rate(&'static str),
    /// How many times as long: less is better.
    Time(&'static str),
    /// How much longer.
    Difference(&'static str),
}

impl Against {
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Against::Nothing => None,
            Against::Rate(name) | Against::Time(name) | Against::Difference(name) => Some(name),
        }
    }
}

pub(crate) struct Case {
    pub(crate) group: &'static str,
    /// Different from all other names.
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    pub(crate) prepare: Prepare,
    pub(crate) against: Against,
    /// What the project wants of the comparison, in words.
    pub(crate) goal: &'static str,
}

/// Those with one of the words in their names or groups (all, without words), and
/// what they are compared with.
pub(crate) fn selected(all: Vec<Case>, words: &[String]) -> Vec<Case> {
    let named = |case: &Case| {
        let name = format!("{} {}", case.group, case.name).to_lowercase();
        words.is_empty() || words.iter().any(|w| name.contains(w))
    };
    let wanted: Vec<&str> = all
        .iter()
        .filter(|c| named(c))
        .flat_map(|c| [Some(c.name), c.against.name()])
        .flatten()
        .collect();
    // What is compared with is itself compared with something.
    let further: Vec<&str> = all
        .iter()
        .filter(|c| wanted.contains(&c.name))
        .filter_map(|c| c.against.name())
        .chain(wanted.iter().copied())
        .collect();
    all.into_iter().filter(|c| further.contains(&c.name)).collect()
}

/// Times `what`.
pub(crate) fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let done = what()?;
    Ok((start.elapsed(), done))
}

/// Work of which all counts.
pub(crate) fn all_of(mut what: impl FnMut() -> Result<()> + 'static) -> Result<Work> {
    Ok(Box::new(move || Ok(timed(&mut what)?.0)))
}
