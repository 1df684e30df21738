//! The processes of a pool's workers: limits, niceness, CPUs, control group.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource as Limit, getrlimit};
use nix::unistd::Pid;
use offshoot::pool::PoolBuilder;
use offshoot::{Pool, Process, Resource};
use offshoot_tests::groups::Group;
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

/// As a process finds itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    files: (u64, u64),
    nice: i32,
    cpus: BTreeSet<usize>,
    groups: String,
    name: Option<String>,
}

#[offshoot::worker]
fn look() -> Place {
    here()
}

fn here() -> Place {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let nice = stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap();
    Place {
        files: getrlimit(Limit::RLIMIT_NOFILE).unwrap(),
        nice: nice.parse().unwrap(),
        cpus: own_cpus(),
        groups: fs::read_to_string("/proc/self/cgroup").unwrap(),
        name: std::env::var("OFFSHOOT_TEST_NAME").ok(),
    }
}

fn own_cpus() -> BTreeSet<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
}

/// Takes so many MiB, and does something with them.
#[offshoot::worker]
fn takes(mib: usize) -> usize {
    std::hint::black_box(vec![1u8; mib << 20]).len()
}

/// What each of three workers finds.
fn places(builder: PoolBuilder<(), Place>) -> Vec<Place> {
    let pool = builder.max(3).idle(3).start(Duration::ZERO).build().unwrap();
    let told = pool.broadcast(()).unwrap();
    assert_eq!(told.len(), 3);
    told.into_iter().map(|call| call.wait().unwrap()).collect()
}

#[test]
fn without_limits_workers_are_as_the_program_was_started() {
    within(DEADLINE, || {
        let here = here();
        assert!(places(Pool::builder(look)).iter().all(|place| *place == here));
    });
}

#[test]
fn resources_of_each_worker_are_limited() {
    within(DEADLINE, || {
        let builder = Pool::builder(look).rlimit(Resource::OpenFiles, 77, 99);
        assert!(places(builder).iter().all(|place| place.files == (77, 99)));
    });
}

#[test]
fn a_call_that_takes_more_than_its_worker_may_fails_by_itself() {
    within(DEADLINE, || {
        let limit = 512 << 20;
        // What is kept of its complaint is the end, which would be that of a backtrace.
        let template = Process::new().unwrap().env("RUST_BACKTRACE", "0");
        let pool = Pool::builder(takes).template(template);
        let pool = pool.rlimit(Resource::AddressSpace, limit, limit).max(1);
        let pool = pool.capture_stderr(true).build().unwrap();
        assert_eq!(pool.call(1).wait().unwrap(), 1 << 20);
        let error = pool.call(1024).wait().unwrap_err();
        assert!(error.is_disconnected(), "{error}");
        let said = error.stderr_tail().expect("it complains");
        assert!(said.contains("memory allocation of 1073741824 bytes failed"), "{said}");
        assert_eq!(pool.call(1).wait().unwrap(), 1 << 20);
    });
}

#[test]
fn workers_are_nice() {
    within(DEADLINE, || {
        let nice = here().nice + 3;
        assert!(places(Pool::builder(look).nice(nice)).iter().all(|place| place.nice == nice));
    });
}

#[test]
fn workers_run_on_the_given_cpus() {
    within(DEADLINE, || {
        let last = own_cpus().pop_last().unwrap();
        let places = places(Pool::builder(look).cpu_affinity([last]));
        assert!(places.iter().all(|place| place.cpus == BTreeSet::from([last])));
    });
}

#[test]
fn workers_run_in_the_given_group() {
    within(DEADLINE, || {
        let Some(group) = Group::unified() else { return };
        let places = places(Pool::builder(look).cgroup(group.path()));
        assert!(places.iter().all(|place| group.is_named_in(&place.groups)), "{places:?}");
    });
}

#[test]
fn all_steps_are_taken_beside_those_of_the_template() {
    within(DEADLINE, || {
        let template = Process::new().unwrap().env("OFFSHOOT_TEST_NAME", "a").nice(1);
        let builder = Pool::builder(look).template(template);
        let builder = builder.nice(19).rlimit(Resource::OpenFiles, 88, 88);
        for place in places(builder) {
            let found = (place.name.as_deref(), place.nice, place.files);
            assert_eq!(found, (Some("a"), 19, (88, 88)), "the pool's come last");
        }
    });
}

/// A pool with such workers is broken, and says `why`.
fn fails(with: impl FnOnce(PoolBuilder<(), Place>) -> PoolBuilder<(), Place>, why: &str) {
    let builder = Pool::builder(look).restart(2, DEADLINE);
    let pool = with(builder.backoff(Duration::ZERO, Duration::ZERO)).build().unwrap();
    let error = pool.call(()).wait().unwrap_err();
    assert!(error.is_pool_broken() && !error.is_init(), "{error}");
    assert!(error.to_string().contains(why), "{error}");
    assert_eq!(pool.stats().failed_starts, 2);
}

#[test]
fn what_cannot_be_configured_breaks_the_pool() {
    within(DEADLINE, || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fails(
            |builder| builder.cgroup(path),
            &format!("control group {}: No such", path.display()),
        );
        fails(|builder| builder.cpu_affinity([1023]), "could not be configured");
        fails(|builder| builder.rlimit(Resource::OpenFiles, 9, 8), "could not be configured");
    });
}

#[test]
fn what_makes_no_sense_anywhere_is_not_built() {
    within(DEADLINE, || {
        for (builder, why) in [
            (Pool::builder(look).cgroup("jobs"), "not absolute: jobs"),
            (Pool::builder(look).cpu_affinity([]), "needs a CPU to run on"),
            (Pool::builder(look).cpu_affinity([0, 1024]), "1024 is not a CPU"),
        ] {
            let error = builder.build().unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    });
}
