//! The figures of pools by the facade `metrics`. (One test: a recorder is the whole
//! program's.)

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use offshoot::Pool;
use offshoot_tests::turnstile::{self, Passage, Turnstile};
use offshoot_tests::{DEADLINE, eventually, within};

offshoot::early!();

/// What was recorded: by name and labels, all values.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

struct One {
    name: String,
    records: Records,
}

impl Records {
    fn one(&self, key: &Key) -> Arc<One> {
        let labels = key.labels().map(|label| {
            let value = label.value().rsplit("::").next().unwrap();
            format!(" {}={value}", label.key())
        });
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Arc::new(One { name, records: self.clone() })
    }

    fn all(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    fn sum(&self, name: &str) -> f64 {
        self.all(name).iter().sum()
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl One {
    fn record(&self, value: f64) {
        self.records.0.lock().unwrap().entry(self.name.clone()).or_default().push(value);
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.record(value as f64);
    }

    fn absolute(&self, _: u64) {
        unreachable!("they are counted one by one");
    }
}

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.record(value);
    }

    fn decrement(&self, value: f64) {
        self.record(-value);
    }

    fn set(&self, _: f64) {
        unreachable!("pools of the same worker would overwrite each other's");
    }
}

impl HistogramFn for One {
    fn record(&self, value: f64) {
        One::record(self, value);
    }
}

impl Recorder for Records {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

#[offshoot::worker(init = turnstile::enter)]
fn held(at: &mut Passage, job: u32) -> u32 {
    if job == 7 {
        std::process::exit(7);
    }
    at.pass(job)
}

#[test]
fn calls_times_workers_and_queue_are_recorded() {
    within(DEADLINE, || {
        let records = Records::default();
        assert!(metrics::set_global_recorder(records.clone()).is_ok());
        let calls = |outcome: &str| {
            records.sum(&format!("offshoot_pool_calls_total worker=held outcome={outcome}"))
        };
        let workers =
            |state: &str| records.sum(&format!("offshoot_pool_workers worker=held state={state}"));
        let queue = || records.sum("offshoot_pool_queue worker=held");

        let turnstile = Turnstile::new();
        let builder = || {
            let builder = Pool::builder(held).template(turnstile.template()).max(2).load(1);
            builder.start(Duration::ZERO).spares(1).build().unwrap()
        };
        let (pool, other) = (builder(), builder());
        let open: Vec<_> = (0..5).map(|job| pool.call(job)).collect();
        let others = other.call(0);
        pool.call(5).cancel();
        // Nothing happens any more: still it is told, a little later.
        let known = || (workers("busy"), workers("idle"), workers("spare"), queue());
        eventually(DEADLINE, "that all are busy", || known() == (3.0, 0.0, 2.0, 3.0));
        turnstile.open();
        assert!(open.into_iter().all(|call| call.wait().is_ok()) && others.wait().is_ok());
        eventually(DEADLINE, "that all are idle", || known() == (0.0, 3.0, 2.0, 0.0));
        assert!(pool.call(7).wait().is_err());
        drop([pool.call(7), pool.call(7)]);
        pool.finish().unwrap();
        other.finish().unwrap();
        eventually(DEADLINE, "that nobody is left", || {
            let states = ["starting", "idle", "busy", "retiring", "dying", "spare"];
            states.into_iter().all(|state| workers(state) == 0.0) && queue() == 0.0
        });
        assert_eq!((calls("done"), calls("died"), calls("cancelled")), (6.0, 3.0, 1.0));
        let times = ["wait", "run"]
            .map(|which| records.all(&format!("offshoot_pool_{which}_seconds worker=held")));
        for times in times {
            assert_eq!(times.len(), 9, "but for the one that no worker had");
            assert!(times.iter().all(|seconds| (0.0..60.0).contains(seconds)), "{times:?}");
        }
        let documented = [
            "offshoot_pool_calls_total",
            "offshoot_pool_queue",
            "offshoot_pool_run_seconds",
            "offshoot_pool_wait_seconds",
            "offshoot_pool_workers",
        ];
        for name in records.names() {
            assert!(documented.contains(&name.split(' ').next().unwrap()), "{name}");
        }
    });
}
