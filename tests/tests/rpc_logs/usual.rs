//! The subscriber that most programs have, with its filters.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use offshoot::Process;
use offshoot_tests::{DEADLINE, within};
use tracing::{Dispatch, debug, debug_span, info, info_span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    /// What is written there, without what differs each time.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| {
                let words = line.split(' ').filter(|w| !w.starts_with("time."));
                let line = words.collect::<Vec<_>>().join(" ").replace(ENTRY, "ENTRY");
                let mut parts = line.split("worker.pid=");
                let first = parts.next().unwrap_or_default().to_owned();
                parts.fold(first, |line, part| {
                    line + "PID" + part.trim_start_matches(|c: char| c.is_ascii_digit())
                })
            })
            .collect()
    }
}

const ENTRY: &str = "worker.entry=\"rpc_logs::usual::looks\"";

#[offshoot::worker]
fn looks(at: u32) {
    let _looking = info_span!("looking", at).entered();
    info!(target: "eyes", "open");
    let _closer = debug_span!(target: "eyes", "closer").entered();
    debug!("small {at}");
}

fn seen(filter: &str) -> Vec<String> {
    let page = Page::default();
    let writer = page.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_env_filter(EnvFilter::new(filter))
        .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
        .with_ansi(false)
        .without_time()
        .finish();
    let rpc = Process::new().unwrap().rpc(looks).forward_logs(true);
    let rpc = tracing::dispatcher::with_default(&Dispatch::new(subscriber), || rpc.start());
    let rpc = rpc.unwrap();
    (1..=2).for_each(|n| rpc.call(n).wait().unwrap());
    rpc.finish().unwrap();
    page.lines()
}

#[test]
fn it_prints_spans_around_events() {
    within(DEADLINE, || {
        let of = |at: u32| {
            let outer = format!("looking{{at={at} PID ENTRY}}:");
            let both = format!("{outer}closer{{PID ENTRY}}:");
            [
                format!(" INFO {outer} rpc_logs::usual: new"),
                format!(" INFO {outer} eyes: open PID ENTRY"),
                format!("DEBUG {both} eyes: new"),
                format!("DEBUG {both} rpc_logs::usual: small {at} PID ENTRY"),
                format!("DEBUG {both} eyes: close"),
                format!(" INFO {outer} rpc_logs::usual: close"),
            ]
        };
        assert_eq!(seen("debug"), [of(1), of(2)].concat());
    });
}

#[test]
fn it_filters_by_target_and_level() {
    within(DEADLINE, || {
        let line = " INFO eyes: open PID ENTRY";
        assert_eq!(seen("off,eyes=info"), [line, line]);
        // A span whose parent is not wanted has none.
        let closer =
            ["new", "close"].map(|what| format!("DEBUG closer{{PID ENTRY}}: eyes: {what}"));
        let one = [line.to_owned()].into_iter().chain(closer);
        let expected: Vec<_> = one.clone().chain(one).collect();
        assert_eq!(seen("off,eyes=debug"), expected);
    });
}

#[test]
fn it_filters_by_the_values_of_the_spans_around() {
    within(DEADLINE, || {
        let lines = seen("off,[looking{at=2}]=debug");
        assert!(lines.iter().any(|l| l.contains("small 2")), "{lines:?}");
        assert!(lines.iter().all(|l| !l.contains("small 1")), "{lines:?}");
    });
}
