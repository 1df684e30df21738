//! What a pool says of itself: figures, and a span for each call.

use std::time::{Duration, Instant};

use offshoot::pool::{PoolBuilder, Stats};
use offshoot::{Pool, Process};
use offshoot_tests::logged::{Fields, Got, Line, Logged};
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, eventually, within};
use tracing::Level;

offshoot::early!();

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    at.pass(job)
}

#[offshoot::worker]
fn naps(millis: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(millis));
    std::process::id()
}

/// Fails in the way that it is told.
#[offshoot::worker(codec = offshoot::Json)]
fn fails(how: u32) -> f64 {
    match how {
        1 => panic!("as it was told"),
        2 => std::process::exit(2),
        3 => loop {
            std::thread::park();
        },
        how => f64::from(how),
    }
}

#[offshoot::setup]
fn set_up(_: offshoot::Args) {}

fn builder(turnstile: &Turnstile) -> PoolBuilder<u32, u32> {
    Pool::builder(held).template(turnstile.template()).load(1).start(Duration::ZERO)
}

fn states(stats: &Stats) -> [usize; 5] {
    [stats.starting, stats.idle, stats.busy, stats.retiring, stats.dying]
}

#[test]
fn workers_are_counted_by_state() {
    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = builder(&turnstile).max(2).spares(1).build().unwrap();
        eventually(DEADLINE, "it is there", || pool.stats().spares == 1);
        assert_eq!(states(&pool.stats()), [0; 5]);
        let calls: Vec<_> = (0..3).map(|job| pool.call(job)).collect();
        turnstile.next_of(2);
        eventually(DEADLINE, "it is known that they are ready", || pool.stats().starting == 0);
        let stats = pool.stats();
        assert_eq!((states(&stats), stats.running, stats.queued), ([0, 0, 2, 0, 0], 2, 1));
        pool.resize(1);
        assert_eq!(states(&pool.stats()), [0, 0, 1, 1, 0]);
        turnstile.open();
        assert!(calls.into_iter().all(|call| call.wait().is_ok()));
        eventually(DEADLINE, "one is idle", || states(&pool.stats()) == [0, 1, 0, 0, 0]);
        let stats = pool.finish().unwrap();
        assert_eq!((states(&stats), stats.spares), ([0; 5], 0));
        assert_eq!((stats.done, stats.started, stats.ended), (3, 2, 2));
        let shown = format!("{:?}", pool);
        assert_eq!(shown, "Pool { idle: 0, busy: 0, queued: 0, .. }");
    });
}

#[test]
fn a_worker_that_has_not_got_ready_is_starting() {
    fn enter_and_wait(queued: offshoot::RunArgs) {
        turnstile::enter(queued).pass(0);
    }
    #[offshoot::worker(init = enter_and_wait)]
    fn late(_: &mut (), job: u32) -> u32 {
        job
    }

    within(DEADLINE, || {
        let turnstile = Turnstile::new();
        let pool = Pool::builder(late).template(turnstile.template()).build().unwrap();
        let call = pool.call(5);
        turnstile.next();
        let stats = pool.stats();
        assert_eq!((states(&stats), stats.running), ([1, 0, 0, 0, 0], 1));
        turnstile.open();
        assert_eq!(call.wait().unwrap(), 5);
    });
}

#[test]
fn failures_are_counted_by_reason() {
    within(DEADLINE, || {
        let pool = Pool::builder(fails).max(1).load(1).build().unwrap();
        assert!(pool.call(1).wait().unwrap_err().is_panic());
        assert!(pool.call(2).wait().unwrap_err().is_disconnected());
        let slow = pool.request(3).timeout(Duration::from_millis(10)).call();
        assert!(slow.wait().unwrap_err().is_timeout());
        let [running, queued] = [3, 4].map(|how| pool.call(how));
        queued.cancel();
        running.cancel();
        assert!(queued.wait().unwrap_err().is_cancelled());
        assert!(running.wait().unwrap_err().is_cancelled());
        assert_eq!(pool.call(5).wait().unwrap(), 5.0);
        let [running, queued] = [3, 6].map(|how| pool.call(how));
        pool.kill().unwrap();
        assert!(running.wait().is_err() && queued.wait().unwrap_err().is_pool_ended());
        let stats = pool.finish().unwrap();
        let failed = stats.failed;
        let counts = [failed.panicked, failed.timed_out, failed.cancelled];
        assert_eq!((counts, failed.codec, failed.other), ([1, 1, 2], 0, 0));
        // It may not have begun what it was killed in.
        assert_eq!((failed.died + failed.refused, failed.died >= 1), (3, true));
        assert_eq!((failed.total(), stats.done), (7, 1));
        // The last may not have been ready yet when they were killed.
        assert!(stats.died + stats.failed_starts >= 4, "{stats:?}");
    });
}

#[test]
fn what_cannot_be_read_is_counted_too() {
    #[offshoot::worker(codec = offshoot::MessagePack)]
    fn large(bytes: usize) -> Vec<u8> {
        vec![0; bytes]
    }

    within(DEADLINE, || {
        let pool = Pool::builder(large).max_reply(1000).build().unwrap();
        let error = pool.call(5000).wait().unwrap_err();
        assert!(error.is_codec(), "{error}");
        assert!(error.to_string().contains("larger than the 1000 that are allowed"), "{error}");
        assert_eq!(pool.call(10).wait().unwrap().len(), 10);
        let stats = pool.finish().unwrap();
        assert_eq!((stats.failed.codec, stats.failed.total(), stats.died), (1, 1, 0));
    });
}

#[test]
fn times_are_those_of_waiting_and_of_running() {
    within(DEADLINE, || {
        let pool = Pool::builder(naps).max(1).load(2).build().unwrap();
        let begun = Instant::now();
        let calls: Vec<_> = (0..4).map(|_| pool.call(30)).collect();
        let made = begun.elapsed();
        assert!(calls.into_iter().all(|call| call.wait().is_ok()));
        let Stats { wait, run, .. } = pool.finish().unwrap();
        let ms = Duration::from_millis;
        assert_eq!((wait.count(), run.count()), (4, 4));
        // One ends for the pool when its result is read, and the next one begins then.
        assert!(run.mean() >= ms(30) && run.max() >= ms(30), "{run:?}");
        // The last one waits for three others, be it in the worker or before, and half of
        // them for one: all since they were made, which may have taken a while.
        let least = |time| ms(time).saturating_sub(made);
        assert!(wait.max() >= least(90) && wait.percentile(100.0) >= least(90), "{wait:?}");
        assert!(wait.percentile(50.0) >= least(30) && wait.mean() >= least(45), "{wait:?}");
        let shown = format!("{wait:?}");
        assert!(shown.starts_with("Times { count: 4, mean: "), "{shown}");
    });
}

#[test]
fn a_template_that_is_made_again_is_counted() {
    within(DEADLINE, || {
        let template = Process::new().unwrap().setup(set_up, [""; 0]);
        let pool = Pool::builder(naps).template(template).max(1).build().unwrap();
        pool.call(0).wait().unwrap();
        offshoot::testing::kill_template(&pool).unwrap();
        eventually(DEADLINE, "its worker died with it", || pool.stats().died == 1);
        pool.call(0).wait().unwrap();
        let stats = pool.finish().unwrap();
        assert_eq!((stats.templates, stats.died, stats.failed.total()), (1, 1, 0));
        assert!(stats.peak_memory > 0);
    });
}

/// The spans of calls, by what they are when they close.
fn spans(logged: &Logged) -> Vec<Line> {
    let lines = logged.lines().into_iter();
    lines.filter(|line| line.from.target() == "offshoot::pool" && line.what == "values").collect()
}

/// All values of each span, in the order in which they were made.
fn calls(logged: &Logged) -> Vec<Fields> {
    let all = spans(logged);
    let ends = |line: &Line| line.fields.get("outcome").is_some();
    let calls = all.split_inclusive(ends);
    calls.map(|lines| Fields(lines.iter().flat_map(|l| l.fields.0.clone()).collect())).collect()
}

#[test]
fn each_call_is_a_span() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::DEBUG);
        let _here = tracing::subscriber::set_default(logged.clone());
        let pool = Pool::builder(naps).max(1).build().unwrap();
        let around = tracing::info_span!("around");
        let pid = around.in_scope(|| pool.call(20)).wait().unwrap();
        drop(around);
        let calls = calls(&logged);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].text("outcome"), Some("done"));
        assert_eq!(calls[0].number("worker.pid"), Some(pid.into()));
        assert!(calls[0].number("run_us").unwrap() >= 20_000, "{calls:?}");
        assert!(calls[0].number("wait_us").is_some(), "{calls:?}");
        let lines = logged.lines();
        let new = lines.iter().find(|line| line.what == "new" && line.from.name() == "call");
        let new = new.expect("it is called `call`");
        assert_eq!((new.from.target(), new.within.as_slice()), ("offshoot::pool", &["around"][..]));
        assert!(new.fields.text("worker").unwrap().ends_with("::naps"), "{new:?}");
        assert_eq!(*new.from.level(), Level::DEBUG);
        eventually(DEADLINE, "it is closed", || logged.open_spans() == 0);
    });
}

#[test]
fn a_span_says_how_its_call_ended() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::DEBUG);
        let _here = tracing::subscriber::set_default(logged.clone());
        let pool = Pool::builder(fails).max(1).load(1).queue_limit(1).build().unwrap();
        let short = Duration::from_millis(10);
        let outcome = |wanted: &str| {
            let calls = calls(&logged);
            assert_eq!(calls.last().unwrap().text("outcome"), Some(wanted));
            calls.last().unwrap().get("worker.pid").cloned()
        };
        assert!(pool.call(1).wait().is_err());
        assert!(outcome("panicked").is_some());
        assert!(pool.call(2).wait().is_err());
        assert!(outcome("died").is_some());
        assert!(pool.request(3).timeout(short).call().wait().is_err());
        assert!(outcome("timed out").is_some());
        // Which may not have been ready by then.
        eventually(DEADLINE, "its worker is gone", || {
            let stats = pool.stats();
            stats.died + stats.failed_starts == 3
        });
        let [running, queued] = [3, 4].map(|how| pool.call(how));
        assert!(pool.try_call(5).is_err());
        assert_eq!(outcome("full"), None);
        queued.cancel();
        assert!(queued.wait().is_err());
        assert_eq!(outcome("cancelled"), None, "no worker had it");
        let queued = pool.call(4);
        pool.kill().unwrap();
        assert!(queued.wait().unwrap_err().is_pool_ended());
        assert!(running.wait().is_err());
        assert!(calls(&logged).iter().any(|call| call.text("outcome") == Some("refused")));
        pool.finish().unwrap();
        assert!(pool.call(5).wait().is_err());
        assert_eq!(outcome("refused"), None);
        eventually(DEADLINE, "all are closed", || logged.open_spans() == 0);
        let wrong: Vec<Line> =
            logged.lines().into_iter().filter(|line| line.what.contains("wrong")).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let times =
            calls(&logged).iter().filter(|c| matches!(c.get("wait_us"), Some(Got::U64(_)))).count();
        // What two threads log at the same time is not told apart here.
        assert!(times >= 5);
    });
}
