//! How a worker ended over a file.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::options::Options;

/// Why a file has no thumbnail.
pub(crate) enum Ending {
    /// The decoder said so; its worker is well.
    Error(String),
    /// It wanted more memory than these MiB.
    Limit(String, u64),
    /// It was killed, as it took longer than this.
    Timeout(Duration),
    /// It panicked.
    Panic(String),
    /// By a signal, or with a status that nobody gave it, and these last words.
    Crash(ExitStatus, String),
    /// It is gone with what it was forked from, so nobody knows how it ended.
    Lost(String),
}

impl Ending {
    /// What the pool says about a call that failed. What is no worker's end comes back as
    /// an error: no worker could be started, for instance.
    pub(crate) fn of(error: offshoot::Error, options: &Options) -> Result<Ending, offshoot::Error> {
        let words = error.stderr_tail().unwrap_or_default();
        Ok(match error.exit_status() {
            _ if error.is_timeout() => Ending::Timeout(options.timeout),
            _ if error.is_panic() => Ending::Panic(error.to_string()),
            Some(status) => match last_words(words, NO_MEMORY) {
                Some(words) => Ending::Limit(format!("{status}, {words}"), options.memory),
                None => Ending::Crash(status, last_words(words, "").unwrap_or_default().to_owned()),
            },
            None if error.is_disconnected() => Ending::Lost(error.to_string()),
            None => return Err(error),
        })
    }

    /// In a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Ending::Error(_) => "error",
            Ending::Limit(..) => "limit",
            Ending::Timeout(_) => "timeout",
            Ending::Panic(_) => "panic",
            Ending::Crash(status, _) if status.signal().is_some() => "signal",
            Ending::Crash(..) => "exit",
            Ending::Lost(_) => "lost",
        }
    }
}

/// What Rust says when an allocation fails and it aborts.
const NO_MEMORY: &str = "memory allocation of";

/// The last line that begins like that; the hint how to see more is none.
fn last_words<'a>(words: &'a str, begin: &str) -> Option<&'a str> {
    words.lines().rfind(|l| l.starts_with(begin) && !l.is_empty() && !l.starts_with("note:"))
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Error(text) | Ending::Panic(text) | Ending::Lost(text) => f.write_str(text),
            Ending::Limit(text, mib) => write!(f, "{text} under a limit of {mib} MiB"),
            Ending::Timeout(time) => write!(f, "killed after {:.1} s", time.as_secs_f64()),
            Ending::Crash(status, words) if words.is_empty() => status.fmt(f),
            Ending::Crash(status, words) => write!(f, "{status}, {words}"),
        }
    }
}
