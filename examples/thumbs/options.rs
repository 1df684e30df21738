//! The command line.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Usage: thumbs [DIR] [OPTION]...
Makes thumbnails of all PNG and JPEG files below DIR (the photographs that come
with this example), and a page that shows them.

  --out DIR        where to write [examples/out]
  --jobs N         processes at once [number of CPUs]
  --memory MIB     address space of each process [512]
  --deadline SECS  after which a process is killed [10]
";

/// What was asked for.
pub(crate) struct Options {
    /// Where to look for pictures.
    pub(crate) dir: PathBuf,
    /// Where the page goes.
    pub(crate) out: PathBuf,
    /// How many processes at once.
    pub(crate) jobs: usize,
    /// Address space of each, in MiB.
    pub(crate) memory: u64,
    /// How long each may take.
    pub(crate) deadline: Duration,
}

impl Options {
    /// `None` if help was asked for.
    pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let mut dir = None;
        let mut options = Options {
            dir: here.join("data"),
            out: here.join("out"),
            jobs: available_parallelism().map_or(1, usize::from),
            memory: 512,
            deadline: Duration::from_secs(10),
        };
        let mut args = args;
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{} needs a value", arg.display()));
            match arg.to_str() {
                Some("-h" | "--help") => return Ok(None),
                Some("--out") => options.out = value()?.into(),
                Some("--jobs") => options.jobs = at_least(1, number(&value()?)?)?,
                Some("--memory") => options.memory = at_least(1, number(&value()?)?)?,
                Some("--deadline") => {
                    options.deadline = Duration::try_from_secs_f64(number(&value()?)?)
                        .map_err(|e| e.to_string())?;
                }
                Some(other) if other.starts_with('-') => {
                    return Err(format!("there is no option {other}"));
                }
                _ if dir.is_none() => dir = Some(PathBuf::from(arg)),
                _ => return Err(format!("one directory, please, not {} too", arg.display())),
            }
        }
        options.dir = dir.unwrap_or(options.dir);
        Ok(Some(options))
    }
}

fn number<N: FromStr<Err: Display>>(text: &OsString) -> Result<N, String> {
    let shown = text.to_string_lossy();
    shown.parse().map_err(|e| format!("{shown}: {e}"))
}

fn at_least<N: PartialOrd + Display>(least: N, number: N) -> Result<N, String> {
    if number >= least { Ok(number) } else { Err(format!("{number} is less than {least}")) }
}
