//! Workers that die while they run a call: it is told how, and no other call is harmed.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use offshoot::pool::PoolBuilder;
use offshoot::testing::{kill_template, kill_worker, stall_worker};
use offshoot::{Error, Fd, Pool, Process, Resource};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::probe::Clean;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

const MIB: usize = 1 << 20;

/// Does as it is told, once the gate is open, if there is one; else returns its process id.
#[offshoot::worker]
fn act(how: String, gate: Option<Fd>) -> u32 {
    gate.inspect(|gate| pass(gate));
    match how.as_str() {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "be killed" => kill_itself(),
        "speak and exit" => {
            eprintln!("first line");
            eprint!("last words");
            std::process::exit(4);
        }
        "panic" => panic!("on purpose"),
        "hang" => loop {
            std::thread::park();
        },
        "grow" => grow(),
        _ => std::process::id(),
    }
}

fn kill_itself() -> ! {
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    unreachable!("SIGKILL has no handler")
}

/// Until there is no more: allocation fails, and that ends a program.
fn grow() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 4 * MIB]);
    }
}

type Acts = Pool<(String, Option<Fd>), u32>;
type Told = Result<u32, Error>;

fn builder() -> PoolBuilder<(String, Option<Fd>), u32> {
    Pool::builder(act).max(1).load(4)
}

/// The worker acts, with two calls behind; what they are told.
fn told(pool: &Acts, how: &str) -> (Error, [Told; 2]) {
    let (gate, shut) = Gate::new();
    let bad = pool.request((how.into(), Some(shut)));
    // The only one whose time is up.
    let bad = if how == "hang" { bad.timeout(Duration::from_secs(1)) } else { bad }.call();
    let behind = ["", ""].map(|how| pool.call((how.into(), None)));
    drop(gate);
    (bad.wait().unwrap_err(), behind.map(|call| call.wait()))
}

fn complaints(builder: PoolBuilder<(String, Option<Fd>), u32>) -> (Acts, Receiver<Error>) {
    let (sender, receiver) = channel();
    let pool = builder.on_error(move |error| sender.send(error).unwrap()).build().unwrap();
    (pool, receiver)
}

#[test]
fn the_call_that_ran_is_told_how_and_those_behind_it_run_elsewhere() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let ends = [("abort", libc::SIGABRT), ("exit", 3 << 8), ("be killed", libc::SIGKILL)];
        let (pool, complaints) = complaints(builder());
        for (died, (how, raw)) in ends.into_iter().enumerate() {
            let (error, behind) = told(&pool, how);
            assert!(error.is_disconnected() && !error.is_timeout(), "{error}");
            assert_eq!(error.was_started(), Some(true));
            // Debug builds dump core where that is allowed.
            let status = error.exit_status().unwrap().into_raw() & !0x80;
            assert_eq!(status, raw, "{error}");
            assert!(error.peak_memory().unwrap() > 100_000, "{error}");
            assert_eq!((error.killed_because(), error.stderr_tail()), (None, None));
            assert!(behind.iter().all(Result::is_ok), "{behind:?}");
            let complaint = complaints.recv_timeout(DEADLINE).unwrap();
            assert_eq!(complaint.exit_status().unwrap().into_raw() & !0x80, raw);
            let stats = pool.stats();
            assert_eq!(
                (stats.failed.died, stats.failed.total()),
                (died as u64 + 1, died as u64 + 1)
            );
        }
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.died, stats.moved), (6, 3, 6));
        assert!(stats.peak_memory > 100_000);
        drop(pool);
        clean.after();
    });
}

#[test]
fn what_it_wrote_last_is_in_the_error() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = builder().capture_stderr(true).build().unwrap();
        let (error, behind) = told(&pool, "speak and exit");
        assert_eq!(error.stderr_tail(), Some("first line\nlast words"));
        assert!(error.to_string().ends_with("it said last: last words"), "{error}");
        assert!(behind.iter().all(Result::is_ok));
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn a_worker_that_hangs_is_killed_when_the_time_is_up() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let (pool, complaints) = complaints(builder());
        let (error, behind) = told(&pool, "hang");
        assert!(error.is_timeout(), "{error}");
        assert!(behind.iter().all(Result::is_ok), "{behind:?}");
        let complaint = complaints.recv_timeout(DEADLINE).unwrap();
        assert_eq!(complaint.killed_because(), Some("a call timed out"));
        assert_eq!(complaint.exit_status().unwrap().signal(), Some(libc::SIGKILL));
        assert!(complaint.peak_memory().unwrap() > 100_000);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed.timed_out, stats.failed.total(), stats.done), (1, 1, 2));
        drop(pool);
        clean.after();
    });
}

#[test]
fn a_worker_that_is_stopped_is_killed_when_the_time_is_up() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = builder().build().unwrap();
        let pid = pool.call((String::new(), None)).wait().unwrap();
        let stalled = stall_worker(&pool, pid).unwrap();
        let first = pool.request((String::new(), None)).timeout(Duration::from_secs(1)).call();
        let behind = ["", ""].map(|how| pool.call((how.into(), None)));
        let (first, [second, third]) = (first.wait(), behind.map(|call| call.wait()));
        assert!(first.unwrap_err().is_timeout());
        assert_ne!(second.unwrap(), pid);
        assert_ne!(third.unwrap(), pid);
        // Its guard harms nobody who has come since.
        drop(stalled);
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn a_panic_fails_its_call_and_no_other() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = builder().build().unwrap();
        let (error, behind) = told(&pool, "panic");
        assert_eq!(error.panic_message(), Some("on purpose"));
        assert!(behind.iter().all(Result::is_ok), "{behind:?}");
        assert_eq!(pool.finish().unwrap().failed.panicked, 1);
        drop(pool);
        clean.after();
    });
}

#[test]
fn one_that_is_cancelled_while_it_runs_is_killed_and_those_behind_run_elsewhere() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let (pool, complaints) = complaints(builder());
        let pid = pool.call((String::new(), None)).wait().unwrap();
        let (gate, shut) = Gate::new();
        let running = pool.call((String::new(), Some(shut)));
        let behind = pool.call((String::new(), None));
        running.cancel();
        assert!(running.wait().unwrap_err().is_cancelled());
        assert_ne!(behind.wait().unwrap(), pid);
        let complaint = complaints.recv_timeout(DEADLINE).unwrap();
        assert_eq!(complaint.killed_because(), Some("a call was cancelled"));
        drop(gate);
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn one_that_grows_beyond_its_limit_dies_alone() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let limit = 600 * MIB as u64;
        // A backtrace would leave no room for what is looked for.
        let template = Process::new().unwrap().env("RUST_BACKTRACE", "0");
        let pool = builder().template(template).capture_stderr(true);
        let pool = pool.rlimit(Resource::AddressSpace, limit, limit);
        let pool = pool.build().unwrap();
        let (error, behind) = told(&pool, "grow");
        // The allocator's message, and SIGABRT.
        assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGABRT), "{error}");
        assert!(error.stderr_tail().unwrap().contains("memory allocation"), "{error}");
        assert!(error.peak_memory().unwrap() > 100 * MIB as u64, "{error}");
        assert_eq!(error.killed_because(), None);
        assert!(behind.iter().all(Result::is_ok), "{behind:?}");
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn a_worker_and_its_template_that_die_together_are_both_replaced() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let template = Process::new().unwrap().setup(nothing, [""; 0]);
        let pool = builder().template(template).build().unwrap();
        for round in 0..5 {
            // A worker may still be about to die with the template before.
            let request = pool.request((String::new(), None)).idempotent();
            let pid = request.call().wait().unwrap();
            let (gate, shut) = Gate::new();
            let bad = pool.call((String::new(), Some(shut)));
            let behind = ["", ""].map(|how| pool.call((how.into(), None)));
            if round % 2 == 0 {
                kill_worker(&pool, pid).unwrap();
                kill_template(&pool).unwrap();
            } else {
                kill_template(&pool).unwrap();
                // It dies with its template, unless this comes first.
                let _ = kill_worker(&pool, pid);
            }
            let error = bad.wait().unwrap_err();
            assert!(error.is_disconnected() && error.was_started() == Some(true), "{error}");
            let behind = behind.map(|call| call.wait());
            // The next worker may have been forked just before the template died, and died
            // with it.
            let failed: Vec<&Error> =
                behind.iter().filter_map(|told| told.as_ref().err()).collect();
            assert!(failed.len() <= 1, "{failed:?}");
            assert!(failed.iter().all(|error| error.was_started() == Some(true)), "{failed:?}");
            assert!(behind.iter().flatten().all(|other| *other != pid));
            drop(gate);
        }
        // Not all of them were asked again before they died.
        assert!(pool.finish().unwrap().templates >= 3);
        drop(pool);
        clean.after();
    });
}

#[offshoot::setup]
fn nothing(_: offshoot::Args) {
    let _ = std::io::stdout().flush();
}
