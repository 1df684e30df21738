//! One process for each picture, so many at once, none of them trusted.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Process, Resource};

use crate::find::Picture;
use crate::options::Options;
use crate::worker::thumbnail;

/// What has become of a picture.
pub(crate) struct Outcome<'a> {
    /// Which one.
    pub(crate) picture: &'a Picture,
    /// Width and height, if the file got so far as to tell.
    pub(crate) size: Option<(u32, u32)>,
    /// From the fork to the end of its process.
    pub(crate) time: Duration,
    /// The thumbnail, below the output directory, or how the process ended instead.
    pub(crate) end: Result<PathBuf, Ending>,
}

/// How the process of a bad file ended.
pub(crate) enum Ending {
    /// The decoder said so.
    Error(String),
    /// By a signal, or with a status that nobody gave it, and these last words.
    Crash(ExitStatus, String),
    /// It wanted more memory than these MiB.
    Limit(ExitStatus, String, u64),
    /// It was killed at its deadline.
    Timeout(Duration),
}

/// Where the thumbnails are, below the output directory.
const THUMBS: &str = "thumbs";

/// What kinds there are.
const EXTENSIONS: [&str; 2] = ["jpg", "png"];

/// Does all pictures, and calls `done` after each. An error is ours, not a picture's.
pub(crate) fn all<'a>(
    pictures: &'a [Picture],
    options: &Options,
    done: impl Fn(&Picture) + Sync,
) -> Result<Vec<Outcome<'a>>, String> {
    // Prepared once. Nothing has to be loaded, so this costs no process of its own.
    let bytes = options.memory.saturating_mul(1024 * 1024);
    let prepared = Process::new()
        .map_err(|e| e.to_string())?
        .rlimit(Resource::AddressSpace, bytes, bytes)
        // A crash is expected here: nobody wants its core, or the way that led to it.
        .rlimit(Resource::Core, 0, 0)
        .env("RUST_BACKTRACE", "0");
    let next = AtomicUsize::new(0);
    let take = || {
        let mut outcomes = Vec::new();
        while let Some(picture) = pictures.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = one(&prepared, picture, options);
            outcomes.push(outcome.map_err(|e| format!("{}: {e}", picture.name))?);
            done(picture);
        }
        Ok(outcomes)
    };
    let outcomes: Result<Vec<_>, String> = thread::scope(|scope| {
        let jobs = options.jobs.min(pictures.len());
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|t| t.join().expect("no panic in it")).collect()
    });
    let mut outcomes: Vec<_> = outcomes?.into_iter().flatten().collect();
    outcomes.sort_by(|a, b| a.picture.below.cmp(&b.picture.below));
    Ok(outcomes)
}

fn one<'a>(
    prepared: &Process,
    picture: &'a Picture,
    options: &Options,
) -> Result<Outcome<'a>, Box<dyn Error>> {
    let target = Path::new(THUMBS).join(&picture.below);
    let written = options.out.join(&target);
    fs::create_dir_all(written.parent().expect("it has THUMBS before it"))?;
    let (mut complaint, stderr) = UnixStream::pair()?;

    let begun = Instant::now();
    let child = prepared
        .fork()?
        .stderr(&stderr)
        .send_arg(picture.path.as_os_str().as_bytes())
        .send_arg(written.as_os_str().as_bytes())
        .run(thumbnail)?;
    drop(stderr);
    let in_time = child.wait_timeout(options.deadline)?;
    if in_time.is_none() {
        child.kill()?;
    }
    // Also after a kill: it may have ended in between, and it must not write any more.
    let status = child.wait()?;
    let time = begun.elapsed();

    // The process is gone, so both of these end.
    let (mut answer, mut words) = (Vec::new(), Vec::new());
    child.stream().read_to_end(&mut answer)?;
    complaint.read_to_end(&mut words)?;
    let answer = String::from_utf8_lossy(&answer);
    let said =
        |word: &str| answer.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));

    let size = said("size").and_then(|size| {
        let (width, height) = size.split_once(' ')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    });
    let words = String::from_utf8_lossy(&words);
    // A status is believed more than words, and of the words only those that are known.
    let end = match EXTENSIONS.into_iter().find(|known| said("done") == Some(known)) {
        Some(extension) if status.success() => Ok(target.with_added_extension(extension)),
        _ if in_time.is_none() => Err(Ending::Timeout(options.deadline)),
        _ => Err(match (said("limit").or(last_words(&words, NO_MEMORY)), said("error")) {
            (Some(text), _) => Ending::Limit(status, text.to_owned(), options.memory),
            (_, Some(text)) => Ending::Error(text.to_owned()),
            _ => Ending::Crash(status, last_words(&words, "").unwrap_or_default().to_owned()),
        }),
    };
    if end.is_err() {
        for extension in EXTENSIONS {
            let _ = fs::remove_file(written.with_added_extension(extension));
        }
    }
    Ok(Outcome { picture, size, time, end })
}

/// What Rust says when an allocation fails and it aborts.
const NO_MEMORY: &str = "memory allocation of";

/// The last line that begins like that; the hint how to see more is none.
fn last_words<'a>(words: &'a str, begin: &str) -> Option<&'a str> {
    words.lines().rfind(|l| l.starts_with(begin) && !l.is_empty() && !l.starts_with("note:"))
}
