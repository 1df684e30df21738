//! What workers log goes to this program's subscriber, as if it had happened here.

use std::error::Error;
use std::fmt;
use std::sync::mpsc;

use offshoot::{Context, Process, RpcBuilder};
use offshoot_tests::logged::{Got, Line, Logged};
use offshoot_tests::{DEADLINE, within};
use tracing::{Level, debug, error, info, info_span, trace, warn};

mod ends;
mod lies;
mod panics;
mod spans;
mod strange;
mod usual;

offshoot::early!();

#[derive(Debug)]
struct Outer(Inner);

#[derive(Debug)]
struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("inner")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl Error for Inner {}

fn forwarded<A, R: Send + 'static, E>(
    rpc: RpcBuilder<A, R, E>,
    to: &Logged,
) -> offshoot::Rpc<A, R, E> {
    tracing::subscriber::with_default(to.clone(), || rpc.forward_logs(true).start().unwrap())
}

fn message(line: &Line) -> &str {
    line.fields.text("message").unwrap_or_default()
}

#[offshoot::worker]
fn each_level() -> u32 {
    error!("an error");
    warn!("a warning");
    info!(target: "another::target", "some information");
    debug!("a detail");
    trace!("a trace");
    std::process::id()
}

#[test]
fn events_have_the_level_target_and_place_that_they_had() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::TRACE);
        let rpc = forwarded(Process::new().unwrap().rpc(each_level), &logged);
        let pid = rpc.call(()).wait().unwrap();
        rpc.finish().unwrap();
        let events = logged.events();
        let levels: Vec<_> = events.iter().map(|e| *e.from.level()).collect();
        let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels, all);
        let said: Vec<_> = events.iter().map(message).collect();
        assert_eq!(said, ["an error", "a warning", "some information", "a detail", "a trace"]);
        for (event, number) in events.iter().zip(0..) {
            let target = if number == 2 { "another::target" } else { "rpc_logs" };
            assert_eq!(event.from.target(), target);
            assert_eq!(event.from.module_path(), Some("rpc_logs"));
            assert_eq!(event.from.file(), Some(file!()));
            let line = events[0].from.line().unwrap() + number;
            assert_eq!(event.from.line(), Some(line));
            assert_eq!(event.from.name(), format!("event {}:{line}", file!()));
            assert!(event.from.is_event());
            assert_eq!(event.fields.number("worker.pid"), Some(pid.into()));
            assert_eq!(event.fields.text("worker.entry"), Some("rpc_logs::each_level"));
        }
    });
}

#[offshoot::worker]
fn each_type() {
    let error: &(dyn Error + 'static) = &Outer(Inner);
    info!(
        i = -1i64,
        u = u64::MAX,
        small = 7u8,
        i128 = i128::MIN,
        u128 = u128::MAX,
        f = 1.5,
        b = true,
        text = "text",
        bytes = &b"\0\xff"[..],
        debug = ?Some("x"),
        display = %"y",
        error,
        none = Option::<u64>::None,
        r#type = 3u64,
        a.dotted.name = 4u64,
        "a {} message",
        "formatted"
    );
}

#[test]
fn values_are_of_the_types_that_they_were() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(each_type), &logged);
        rpc.call(()).wait().unwrap();
        let events = logged.events();
        let [event] = &events[..] else { panic!("{events:?}") };
        let debug = |text: &str| Got::Debug(text.to_owned());
        let mut values: Vec<_> = event.fields.0.clone();
        values.retain(|(name, _)| !name.starts_with("worker."));
        values.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            ("a.dotted.name", Got::U64(4)),
            ("b", Got::Bool(true)),
            ("bytes", Got::Bytes(vec![0, 255])),
            ("debug", debug("Some(\"x\")")),
            ("display", debug("y")),
            ("error", Got::Error(vec!["outer".to_owned(), "inner".to_owned()])),
            ("f", Got::F64(1.5)),
            ("i", Got::I64(-1)),
            ("i128", Got::I128(i128::MIN)),
            ("message", debug("a formatted message")),
            ("small", Got::U64(7)),
            ("text", Got::Str("text".to_owned())),
            ("type", Got::U64(3)),
            ("u", Got::U64(u64::MAX)),
            ("u128", Got::U128(u128::MAX)),
        ];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value)));
        // One without a value is a field all the same.
        assert!(event.from.fields().field("none").is_some());
    });
}

#[offshoot::worker]
fn logs_and_events(cx: &Context<u32>, n: u32) -> u32 {
    info!("before {n}");
    cx.event(&n);
    info!("after {n}");
    n
}

#[test]
fn logs_keep_their_place_among_events_and_replies() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let noted = logged.clone();
        let rpc = Process::new().unwrap().rpc(logs_and_events);
        let rpc = rpc.on_event(move |n| noted.note(&format!("event {n}")));
        let rpc = forwarded(rpc, &logged);
        let calls: Vec<_> = (0..200).map(|n| rpc.call(n)).collect();
        for (n, call) in (0..).zip(calls) {
            assert_eq!(call.wait().unwrap(), n);
            // The last of this call, and perhaps some of those behind it.
            assert!(logged.events().iter().any(|e| message(e) == format!("after {n}")));
        }
        let said: Vec<_> = logged
            .lines()
            .iter()
            .map(|l| if l.what == "event" { message(l).to_owned() } else { l.what.clone() })
            .collect();
        let expected = (0..200)
            .flat_map(|n| [format!("before {n}"), format!("event {n}"), format!("after {n}")]);
        assert_eq!(said, expected.collect::<Vec<_>>());
    });
}

#[test]
fn nothing_is_forwarded_unless_it_is_asked_for() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::TRACE);
        tracing::subscriber::with_default(logged.clone(), || {
            for rpc in [
                Process::new().unwrap().rpc(each_level),
                Process::new().unwrap().rpc(each_level).forward_logs(true).forward_logs(false),
            ] {
                let rpc = rpc.start().unwrap();
                rpc.call(()).wait().unwrap();
                rpc.finish().unwrap();
            }
        });
        assert!(logged.lines().is_empty(), "{:?}", logged.lines());
    });
}

#[offshoot::worker]
fn is_logging() -> bool {
    tracing::dispatcher::has_been_set()
}

#[test]
fn without_a_subscriber_here_none_is_set_there() {
    within(DEADLINE, || {
        for forward in [true, false] {
            let rpc = Process::new().unwrap().rpc(is_logging).forward_logs(forward);
            assert!(!rpc.start().unwrap().call(()).wait().unwrap());
        }
    });
}

fn prepare(_: offshoot::RunArgs) -> Result<u32, String> {
    info!("being prepared");
    let _inside = info_span!("preparation").entered();
    Err("it failed".to_owned())
}

#[offshoot::worker(init = prepare)]
fn never_called(state: &mut u32) -> u32 {
    *state
}

#[test]
fn what_an_init_function_logs_is_there_before_its_error() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let noted = logged.clone();
        let (told, tells) = mpsc::channel();
        let rpc = Process::new().unwrap().rpc(never_called).on_error(move |error| {
            noted.note("on_error");
            told.send(error.is_init()).unwrap();
        });
        let rpc = forwarded(rpc, &logged);
        assert!(rpc.call(()).wait().unwrap_err().is_init());
        assert!(tells.recv().unwrap());
        let lines = logged.lines();
        let kinds: Vec<_> = lines.iter().map(|l| l.what.as_str()).collect();
        assert_eq!(kinds, ["event", "new", "enter", "close", "on_error"]);
    });
}

#[test]
fn logs_come_to_a_program_that_waits_for_nothing() {
    within(DEADLINE, || {
        let (told, tells) = mpsc::channel();
        let logged = Logged::new(Level::INFO, move |metadata| {
            // Asked before the fifth event is emitted: all before it are there.
            if metadata.target() == "rpc_logs" {
                let _ = told.send(());
            }
            true
        });
        let rpc = forwarded(Process::new().unwrap().rpc(logs_and_events), &logged);
        let call = rpc.call(1);
        (0..2).for_each(|_| tells.recv().unwrap());
        assert_eq!(call.wait().unwrap(), 1);
    });
}
