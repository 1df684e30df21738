//! The command line.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Usage: thumbs [DIR] [OPTION]...
Makes thumbnails of all PNG and JPEG files below DIR (the photographs that come
with this example), and a page that shows them.

  --out DIR       where to write [examples/out]
  --jobs N        workers at once [number of CPUs]
  --memory MIB    address space of each worker [512]
  --timeout SECS  after which a worker is killed over a file [10]
";

/// What was asked for.
pub(crate) struct Options {
    /// Where to look for pictures.
    pub(crate) dir: PathBuf,
    /// Where the page goes.
    pub(crate) out: PathBuf,
    /// How many workers at once.
    pub(crate) jobs: usize,
    /// Address space of each, in MiB.
    pub(crate) memory: u64,
    /// How long each file may take.
    pub(crate) timeout: Duration,
}

impl Options {
    /// `None` if help was asked for.
    pub(crate) fn parse(
        mut args: impl Iterator<Item = OsString>,
    ) -> Result<Option<Options>, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let mut dir = None;
        let mut options = Options {
            dir: here.join("data"),
            out: here.join("out"),
            jobs: offshoot::pool::ncpu(),
            memory: 512,
            timeout: Duration::from_secs(10),
        };
        while let Some(arg) = args.next() {
            let option = arg.to_string_lossy();
            let mut value = || args.next().ok_or(format!("{option} needs a value"));
            match &*option {
                "-h" | "--help" => return Ok(None),
                "--out" => options.out = value()?.into(),
                "--jobs" => options.jobs = at_least_1(&option, number(&option, value()?)?)?,
                "--memory" => options.memory = at_least_1(&option, number(&option, value()?)?)?,
                "--timeout" => options.timeout = time(&option, number(&option, value()?)?)?,
                other if other.starts_with('-') => {
                    return Err(format!("there is no option {other}"));
                }
                _ if dir.is_none() => dir = Some(PathBuf::from(&arg)),
                other => return Err(format!("one directory, please, not {other} too")),
            }
        }
        options.dir = dir.unwrap_or(options.dir);
        Ok(Some(options))
    }
}

fn number<N: FromStr<Err: Display>>(option: &str, text: OsString) -> Result<N, String> {
    let shown = text.to_string_lossy();
    shown.parse().map_err(|e| format!("{option} {shown}: {e}"))
}

fn at_least_1<N: From<u8> + PartialOrd>(option: &str, number: N) -> Result<N, String> {
    if number >= N::from(1) { Ok(number) } else { Err(format!("{option} has to be at least 1")) }
}

fn time(option: &str, seconds: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(format!("{option} {seconds}: not so many seconds")),
    }
}
