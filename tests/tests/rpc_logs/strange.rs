//! Logging while something is being logged, workers that have subscribers of their own, and
//! other things that are not done every day.

use std::fmt;

use offshoot::{Process, Rpc};
use offshoot_tests::logged::Logged;
use offshoot_tests::{DEADLINE, within};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, error, info, info_span};

use super::{forwarded, message};

fn said(logged: &Logged) -> Vec<String> {
    logged.events().iter().map(|e| message(e).to_owned()).collect()
}

/// Logs whenever it is written.
struct Chatty;

impl fmt::Debug for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        info!(again = ?Chatty, "about to be written");
        let span = info_span!("writing", again = ?Chatty).entered();
        info!("within that");
        drop(span);
        f.write_str("chatty")
    }
}

#[offshoot::worker]
fn logs_while_logging() {
    let _span = info_span!("span", value = ?Chatty).entered();
    info!(value = ?Chatty, "from outside");
    info!("last");
}

#[test]
fn what_the_writing_of_a_value_logs_is_dropped() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(logs_while_logging), &logged);
        rpc.call(()).wait().unwrap();
        assert_eq!(said(&logged), ["from outside", "last"]);
        assert_eq!(logged.events()[0].fields.text("value"), Some("chatty"));
        let spans = logged.lines().into_iter().filter(|l| l.what == "new");
        assert_eq!(spans.map(|l| l.from.name()).collect::<Vec<_>>(), ["span"]);
    });
}

struct Faulty;

impl fmt::Debug for Faulty {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("cannot be shown")
    }
}

#[offshoot::worker]
fn logs_the_unspeakable() {
    info!("first");
    let caught = std::panic::catch_unwind(|| info!(value = ?Faulty, "never seen"));
    assert!(caught.is_err());
    info!("last");
}

#[test]
fn a_panic_while_a_value_is_written_is_told_and_is_the_panic_of_whoever_logs() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(logs_the_unspeakable), &logged);
        rpc.call(()).wait().unwrap();
        assert_eq!(said(&logged), ["first", "cannot be shown", "last"]);
    });
}

#[offshoot::setup]
fn subscribes_itself(_: offshoot::Args) {
    tracing::subscriber::set_global_default(Logged::up_to(Level::INFO)).unwrap();
}

#[offshoot::worker]
fn errs_and_panics(panics: bool) {
    error!("heard elsewhere");
    assert!(!panics, "heard here");
}

#[test]
fn a_worker_with_a_subscriber_of_its_own_keeps_it() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let process = Process::new().unwrap().setup(subscribes_itself, [""; 0]);
        let rpc = forwarded(process.rpc(errs_and_panics), &logged);
        rpc.call(false).wait().unwrap();
        assert!(rpc.call(true).wait().unwrap_err().is_panic());
        let events = logged.events();
        let [warning, panic] = &events[..] else { panic!("{events:?}") };
        assert_eq!(*warning.from.level(), Level::WARN);
        assert_eq!(warning.from.target(), "offshoot");
        assert!(message(warning).contains("a subscriber of its own"), "{warning:?}");
        assert!(warning.fields.number("worker.pid").is_some());
        assert_eq!(message(panic), "heard here");
    });
}

#[offshoot::worker]
fn long_text(bytes: u64) -> u32 {
    let text = "é".repeat(bytes as usize / 2);
    info!(text, debug = ?text, "long");
    panic!("{}", &text[..text.len().min(100)]);
}

#[test]
fn limits_of_results_are_not_limits_of_logs() {
    within(DEADLINE, || {
        for (bytes, told) in [(1000, 1000), (10_000_000, 512 * 1024)] {
            let logged = Logged::up_to(Level::INFO);
            let rpc = Process::new().unwrap().rpc(long_text).max_reply(8);
            let rpc = forwarded(rpc, &logged);
            let error = rpc.call(bytes).wait().unwrap_err();
            assert!(error.is_panic(), "{error}");
            let events = logged.events();
            let text = events[0].fields.text("text").unwrap();
            // The message had a few bytes of them.
            let length = text.trim_end_matches('…').len();
            assert!((told - 8..=told).contains(&length), "{length}");
            assert_eq!(text.ends_with('…'), told < bytes as usize);
        }
    });
}

#[offshoot::worker]
fn forks_itself() {
    info!("before");
    #[allow(unsafe_code)]
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            info!("in a process that has no line to the parent");
            let _span = info_span!("there").entered();
            std::process::abort();
        }
        nix::unistd::ForkResult::Parent { child } => {
            nix::sys::wait::waitpid(child, None).unwrap();
        }
    }
    info!("after");
}

#[test]
fn what_a_workers_own_fork_logs_does_not_come() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(forks_itself), &logged);
        rpc.call(()).wait().unwrap();
        rpc.finish().unwrap();
        assert_eq!(said(&logged), ["before", "after"]);
        assert!(logged.lines().iter().all(|l| l.what == "event"));
    });
}

#[offshoot::worker]
fn innermost() -> u32 {
    let _inside = info_span!("inner").entered();
    info!("from the innermost");
    std::process::id()
}

fn starts_another() -> Rpc<(), u32> {
    Process::new().unwrap().rpc(innermost).forward_logs(true).start().unwrap()
}

#[offshoot::worker(init = starts_another)]
fn calls_another(other: &mut Rpc<(), u32>) -> (u32, u32) {
    let _outer = info_span!("outer").entered();
    info!("from the one between");
    (std::process::id(), other.call(()).wait().unwrap())
}

#[test]
fn a_worker_hands_on_what_its_own_worker_logs() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(calls_another), &logged);
        let (between, inner) = rpc.call(()).wait().unwrap();
        assert_ne!(between, inner);
        let events = logged.events();
        let pids: Vec<_> = events.iter().map(|e| e.fields.number("worker.pid").unwrap()).collect();
        assert_eq!(pids, [u64::from(between), u64::from(inner)]);
        assert_eq!(said(&logged), ["from the one between", "from the innermost"]);
        assert_eq!(events[1].fields.text("worker.entry"), Some("rpc_logs::strange::innermost"));
        assert_eq!(events[1].from.target(), "rpc_logs::strange");
        // Another process's spans are not within those that happen to be open.
        assert_eq!(events[1].within, ["inner"]);
    });
}

/// Cannot stand spans.
struct Panicking(Logged);

impl Subscriber for Panicking {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        panic!("a span")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_that_panics_harms_nobody() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = Process::new().unwrap().rpc(innermost).forward_logs(true);
        let subscriber = Panicking(logged.clone());
        let rpc = tracing::subscriber::with_default(subscriber, || rpc.start().unwrap());
        let pid = rpc.call(()).wait().unwrap();
        assert_eq!(pid, rpc.id().unwrap());
        assert!(rpc.finish().unwrap().success());
        assert_eq!(said(&logged), ["from the innermost"]);
    });
}
