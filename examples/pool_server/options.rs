//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Usage: pool_server [OPTION]...
Serves thumbnails of pictures. Without --listen it shows itself: it serves on a free
port, sends itself requests, kills its workers meanwhile, and ends.

  --listen ADDR  serve there (127.0.0.1:8080, for instance) until SIGINT or SIGTERM
  --jobs N       workers at once [number of CPUs]
  --queue N      requests that may wait for a worker [64]
  --timeout MS   after which a worker is killed over a picture [10000]
  --chaos MS     kill a worker that often, to see what happens
";

/// What was asked for.
pub(crate) struct Options {
    /// Where to serve.
    pub(crate) listen: Option<SocketAddr>,
    /// How many workers at once.
    pub(crate) jobs: usize,
    /// How many requests may wait.
    pub(crate) queue: usize,
    /// How long each picture may take.
    pub(crate) timeout: Duration,
    /// The time between two kills.
    pub(crate) chaos: Option<Duration>,
}

impl Options {
    /// `None` if help was asked for.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
        let mut options = Options {
            listen: None,
            jobs: offshoot::pool::ncpu(),
            queue: 64,
            timeout: Duration::from_secs(10),
            chaos: None,
        };
        while let Some(option) = args.next() {
            let mut value = || args.next().ok_or(format!("{option} needs a value"));
            let number = |text: String| match text.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("{option} {text}: a whole number, at least 1, is wanted")),
            };
            let time = |text| Ok::<_, String>(Duration::from_millis(number(text)? as u64));
            match &*option {
                "-h" | "--help" => return Ok(None),
                "--listen" => {
                    let address = value()?;
                    let wrong = |error| format!("{option} {address}: {error}");
                    options.listen = Some(address.parse().map_err(wrong)?);
                }
                "--jobs" => options.jobs = number(value()?)?,
                "--queue" => options.queue = number(value()?)?,
                "--timeout" => options.timeout = time(value()?)?,
                "--chaos" => options.chaos = Some(time(value()?)?),
                _ => return Err(format!("there is no option {option}")),
            }
        }
        Ok(Some(options))
    }
}
