//! Spans: made, given values, entered and closed here as in the worker.

use offshoot::Process;
use offshoot_tests::logged::{Got, Line, Logged};
use offshoot_tests::{DEADLINE, within};
use tracing::{Level, info, info_span, trace, trace_span};

use super::{forwarded, message};

/// Entries in few words.
fn words(lines: &[Line]) -> Vec<String> {
    lines
        .iter()
        .map(|line| {
            let name = if line.what == "event" { message(line) } else { line.from.name() };
            format!("{} {name} in [{}]", line.what, line.within.join(" "))
        })
        .collect()
}

#[offshoot::worker]
fn nested(n: u64) -> u64 {
    let outer = info_span!("outer", n, later = tracing::field::Empty);
    outer.in_scope(|| {
        info!("in outer");
        let inner = info_span!(target: "deep", "inner");
        inner.follows_from(&outer);
        let _inside = inner.enter();
        outer.record("later", "recorded");
        let current = tracing::Span::current();
        assert_eq!(current.metadata().unwrap().name(), "inner");
        let elsewhere = std::thread::spawn(move || {
            info!("alone");
            current.in_scope(|| info!("in inner, elsewhere"));
            info!(parent: &current, "in inner, said so");
        });
        elsewhere.join().unwrap();
        info!(parent: None, "in nothing");
        info!(parent: &outer, "in outer, said so");
    });
    drop(outer);
    info!("after");
    n
}

#[test]
fn spans_are_made_given_values_and_closed_as_they_were() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(nested), &logged);
        rpc.call(5).wait().unwrap();
        let mut lines = logged.lines();
        for line in &lines {
            // An event happens inside of the spans that it is in.
            if line.what == "event" {
                let mut inside = line.inside.clone();
                inside.reverse();
                assert_eq!(inside, line.within, "{line:?}");
            }
        }
        lines.retain(|line| line.what != "enter");
        assert_eq!(
            words(&lines),
            [
                "new outer in []",
                "event in outer in [outer]",
                "new inner in [outer]",
                "follows outer inner in [outer]",
                "values outer in []",
                "event alone in []",
                "event in inner, elsewhere in [inner outer]",
                "event in inner, said so in [inner outer]",
                "event in nothing in []",
                "event in outer, said so in [outer]",
                "close inner in [outer]",
                "close outer in []",
                "event after in []",
            ]
        );
        assert_eq!(lines[0].fields.number("n"), Some(5));
        assert_eq!(lines[0].fields.text("worker.entry"), Some("rpc_logs::spans::nested"));
        assert!(lines[0].from.is_span());
        assert_eq!(lines[2].from.target(), "deep");
        assert_eq!(lines[4].fields.0, [("later".to_owned(), Got::Str("recorded".to_owned()))]);
        assert_eq!(logged.open_spans(), 0);
    });
}

#[offshoot::worker]
fn enters_empty_spans() {
    let span = info_span!("empty");
    (0..3).for_each(|_| span.in_scope(|| {}));
}

#[test]
fn a_span_is_entered_for_each_time_that_it_was() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(enters_empty_spans), &logged);
        rpc.call(()).wait().unwrap();
        let expected = ["new", "enter", "enter", "enter", "close"];
        let lines = logged.lines();
        assert_eq!(lines.iter().map(|l| l.what.as_str()).collect::<Vec<_>>(), expected);
    });
}

#[offshoot::worker]
fn half_wanted() {
    let outer = info_span!("outer").entered();
    let unwanted = trace_span!("unwanted").entered();
    let inner = info_span!("inner").entered();
    info!("in inner");
    trace!("unwanted");
    drop(inner);
    info!(target: "unwanted", "of no wanted target");
    // By the last handle, but one within is still open.
    drop(outer);
    info!("in unwanted");
    unwanted.follows_from(info_span!("another"));
    drop(unwanted);
}

#[test]
fn what_this_programs_subscriber_does_not_want_is_left_out() {
    within(DEADLINE, || {
        let logged = Logged::new(Level::TRACE, |metadata| {
            metadata.target() != "unwanted" && *metadata.level() <= Level::INFO
        });
        let rpc = forwarded(Process::new().unwrap().rpc(half_wanted), &logged);
        rpc.call(()).wait().unwrap();
        let mut lines = logged.lines();
        lines.retain(|line| line.what != "enter");
        assert_eq!(
            words(&lines),
            [
                "new outer in []",
                "new inner in [outer]",
                "event in inner in [inner outer]",
                "close inner in [outer]",
                "event in unwanted in [outer]",
                "new another in [outer]",
                "close another in [outer]",
                "close outer in []",
            ]
        );
        assert_eq!(logged.open_spans(), 0);
    });
}

#[test]
fn two_workers_are_told_apart() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let start = || forwarded(Process::new().unwrap().rpc(nested), &logged);
        let rpcs = [start(), start()];
        let calls: Vec<_> = (0..100).map(|n| rpcs[n as usize % 2].call(n)).collect();
        for call in calls {
            call.wait().unwrap();
        }
        let pids = rpcs.iter().map(|rpc| rpc.id().unwrap());
        let pids: Vec<_> = pids.map(u64::from).collect();
        let lines = logged.lines();
        assert!(lines.iter().all(|l| !l.what.starts_with("wrong")));
        let spans = lines.iter().filter(|l| l.what == "new" && l.from.name() == "outer");
        let mut seen = [0, 0];
        for span in spans {
            let pid = span.fields.number("worker.pid").unwrap();
            let which = pids.iter().position(|p| *p == pid).expect("it is one of them");
            assert_eq!(span.fields.number("n").unwrap() % 2, which as u64);
            seen[which] += 1;
        }
        assert_eq!(seen, [50, 50]);
        // They share the callsites that this program has for them.
        let places = logged
            .events()
            .iter()
            .filter(|e| message(e) == "after")
            .map(|e| e.from.callsite())
            .collect::<std::collections::HashSet<_>>();
        assert_eq!(places.len(), 1);
        assert_eq!(logged.open_spans(), 0);
    });
}
