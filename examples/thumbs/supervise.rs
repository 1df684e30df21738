//! A pool of workers for all pictures, none of them trusted.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::ProgressBar;
use offshoot::{Pool, Process, Resource};

use crate::ending::Ending;
use crate::find::{self, Picture};
use crate::options::Options;
use crate::worker::{Header, Refusal, Thumb, thumbnail};

/// What has become of a picture.
pub(crate) struct Outcome {
    /// Its path below the directory that was asked for.
    pub(crate) below: PathBuf,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// Width and height, if the file got so far as to tell.
    pub(crate) size: Option<(u32, u32)>,
    /// The thumbnail, below the output directory, and how long it took; or how the
    /// worker ended instead.
    pub(crate) end: Result<(PathBuf, Duration), Ending>,
}

/// Where the thumbnails are, below the output directory.
pub(crate) const THUMBS: &str = "thumbs";

/// A call is a number and a path; it has a result, or was refused.
type Thumbnails = Pool<(u64, OsString), Result<Thumb, Refusal>, Header>;

/// Claimed sizes, by number of the call.
type Sizes = Arc<Mutex<HashMap<u64, (u32, u32)>>>;

fn pool(options: &Options, sizes: Sizes) -> Result<Thumbnails, offshoot::Error> {
    let memory = options.memory.saturating_mul(1024 * 1024);
    Pool::builder(thumbnail)
        // Crashes are expected here: nobody wants to see the way that led to one.
        .template(Process::new()?.env("RUST_BACKTRACE", "0"))
        .max(options.jobs)
        // There is work for all of them from the beginning.
        .start(Duration::ZERO)
        .timeout(options.timeout)
        .rlimit(Resource::AddressSpace, memory, memory)
        .rlimit(Resource::FileSize, 0, 0)
        .rlimit(Resource::Core, 0, 0)
        // The next picture is to find most of that memory free, and no traces of
        // thousands of others.
        .max_memory(memory / 4)
        .max_jobs(2000)
        .jitter(0.5)
        .capture_stderr(true)
        .on_event(move |_, Header { job, width, height }| {
            sizes.lock().expect("nobody panics with it").insert(job, (width, height));
        })
        .build()
}

/// Does all pictures, and calls `done` with what has become of each, in order. An error
/// is ours, not a picture's.
///
/// There may be any number of them: what is kept is what is on its way, and what is done
/// while an earlier one, for no longer than its timeout, is not.
pub(crate) fn all(
    options: &Options,
    bar: &ProgressBar,
    mut done: impl FnMut(Outcome) -> io::Result<()>,
) -> Result<offshoot::pool::Stats, Box<dyn Error>> {
    let sizes = Sizes::default();
    let pool = pool(options, Arc::clone(&sizes))?;

    let unreadable = RefCell::new(Vec::new());
    let under_way = RefCell::new(HashMap::new());
    let ours = options.out.join(THUMBS);
    let pictures = find::pictures(&options.dir, &ours, |dir, error| {
        let below = dir.strip_prefix(&options.dir).unwrap_or(dir).to_path_buf();
        let end = Err(Ending::Error(error.to_string()));
        unreadable.borrow_mut().push(Outcome { below, bytes: 0, size: None, end });
    });
    let calls = (0..).zip(pictures).map(|(job, picture)| {
        let path = picture.path.clone().into_os_string();
        under_way.borrow_mut().insert(job, picture);
        (job, path)
    });

    let mut early = BTreeMap::new();
    let mut turn = 0;
    for (index, result) in pool.map_unordered(calls).indexed() {
        let job = index as u64;
        let picture: Picture = under_way.borrow_mut().remove(&job).expect("it was called for");
        let size = sizes.lock().expect("nobody panics with it").remove(&job);
        bar.inc(1);
        early.insert(job, outcome(options, picture, size, result)?);
        unreadable.take().into_iter().try_for_each(&mut done)?;
        while let Some(outcome) = early.remove(&turn) {
            done(outcome)?;
            turn += 1;
        }
    }
    unreadable.take().into_iter().try_for_each(&mut done)?;
    Ok(pool.finish()?)
}

fn outcome(
    options: &Options,
    picture: Picture,
    size: Option<(u32, u32)>,
    result: Result<Result<Thumb, Refusal>, offshoot::Error>,
) -> Result<Outcome, Box<dyn Error>> {
    let target = Path::new(THUMBS).join(&picture.below);
    let end = match result {
        Ok(Ok(thumb)) => {
            let target = target.with_added_extension(EXTENSIONS[usize::from(thumb.is_png)]);
            write(&options.out.join(&target), &thumb.bytes)?;
            Ok((target, thumb.time))
        }
        Ok(Err(Refusal::Error(text))) => Err(Ending::Error(text)),
        Ok(Err(Refusal::Limit(text))) => Err(Ending::Limit(text, options.memory)),
        Err(error) => Err(Ending::of(error, options)?),
    };
    if end.is_err() {
        // It may have been a better file once.
        for extension in EXTENSIONS {
            let _ = fs::remove_file(options.out.join(&target).with_added_extension(extension));
        }
    }
    // A link that leads nowhere has none.
    let bytes = fs::metadata(&picture.path).map_or(0, |m| m.len());
    Ok(Outcome { below: picture.below, bytes, size, end })
}

/// Of a JPEG, and of a PNG.
const EXTENSIONS: [&str; 2] = ["jpg", "png"];

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(path.parent().expect("it has THUMBS before it")).map_err(named)?;
    fs::write(path, bytes).map_err(named)
}
