//! The kit for tests of programs: each fault does what it says, to whom it says.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use offshoot::pool::PoolBuilder;
use offshoot::testing::{
    Chaos, Harm, drop_fd, kill_template, kill_worker, stall_template, stall_worker,
};
use offshoot::{Args, Pool, Process};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::probe::Clean;
use offshoot_tests::program::Watched;
use offshoot_tests::{DEADLINE, eventually, runs, state, within};

offshoot::early!();

#[offshoot::worker]
fn own_pid(gate: Option<offshoot::Fd>) -> u32 {
    gate.inspect(|gate| pass(gate));
    std::process::id()
}

#[offshoot::setup]
fn nothing(_: Args) {}

/// A process of its own, so that nobody else dies with it.
fn template() -> Process {
    Process::new().unwrap().setup(nothing, [""; 0])
}

type Pids = Pool<Option<offshoot::Fd>, u32>;

fn builder() -> PoolBuilder<Option<offshoot::Fd>, u32> {
    Pool::builder(own_pid).template(template()).max(2).stop(Duration::MAX)
}

fn pool() -> Pids {
    builder().build().unwrap()
}

#[test]
fn a_killed_template_is_gone_and_its_processes_with_it() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = pool();
        let worker = Watched::new(pool.call(None).wait().unwrap());
        let first = kill_template(&pool).unwrap();
        assert!(!runs(first));
        assert!(worker.gone_within(DEADLINE));
        pool.request(None).idempotent().call().wait().unwrap();
        assert_ne!(kill_template(&pool).unwrap(), first);

        let process = template();
        kill_template(&process).unwrap();
        let child = process.fork().and_then(|p| p.exec(["true"]));
        assert!(child.and_then(|child| child.wait()).unwrap_err().is_disconnected());
        assert!(kill_template(&process).unwrap_err().is_disconnected());
        pool.kill().unwrap();
        pool.finish().unwrap();
        drop((process, pool, worker));
        clean.after();
    });
}

#[test]
fn a_stalled_template_goes_on_when_the_guard_is_dropped() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let process = template();
        let stalled = stall_template(&process).unwrap();
        assert_eq!(state(stalled.pid()), Some('T'));
        let child = process.fork().and_then(|p| p.exec(["true"])).unwrap();
        assert_eq!(child.wait_timeout(Duration::from_millis(20)).unwrap(), None);
        drop(stalled);
        assert!(child.wait().unwrap().success());
        drop((process, child));
        clean.after();
    });
}

#[test]
fn a_killed_worker_is_the_one_that_was_named() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = pool();
        let pid = pool.call(None).wait().unwrap();
        let (gate, shut) = Gate::new();
        let call = pool.call(Some(shut));
        kill_worker(&pool, pid).unwrap();
        let error = call.wait().unwrap_err();
        assert_eq!(error.exit_status().unwrap().signal(), Some(libc::SIGKILL));
        eventually(DEADLINE, "it is known", || kill_worker(&pool, pid).is_err());
        for error in [
            kill_worker(&pool, pid).unwrap_err(),
            drop_fd(&pool, std::process::id()).unwrap_err(),
            stall_worker(&pool, 1).unwrap_err(),
        ] {
            assert!(error.is_ended(), "{error}");
        }
        pool.finish().unwrap();

        let rpc = Process::new().unwrap().rpc(own_pid).start().unwrap();
        let pid = rpc.call(None).wait().unwrap();
        kill_worker(&rpc, pid).unwrap();
        assert!(rpc.call(None).wait().unwrap_err().is_disconnected());
        drop((pool, gate, rpc));
        clean.after();
    });
}

#[test]
fn a_stalled_worker_keeps_what_it_has() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = pool();
        let pid = pool.call(None).wait().unwrap();
        let stalled = stall_worker(&pool, pid).unwrap();
        assert_eq!((stalled.pid(), state(pid)), (pid, Some('T')));
        let mut call = pool.call(None);
        assert_eq!(call.wait_timeout(Duration::from_millis(20)).unwrap(), None);
        drop(stalled);
        assert_eq!(call.wait().unwrap(), pid);
        // One that is killed meanwhile is none.
        let stalled = stall_worker(&pool, pid).unwrap();
        kill_worker(&pool, pid).unwrap();
        drop(stalled);
        pool.request(None).idempotent().call().wait().unwrap();
        pool.finish().unwrap();
        drop(pool);
        clean.after();
    });
}

#[test]
fn a_worker_without_its_stream_is_lost() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let pool = pool();
        let pid = pool.call(None).wait().unwrap();
        let (gate, shut) = Gate::new();
        let running = pool.call(Some(shut));
        let behind = pool.call(None);
        drop_fd(&pool, pid).unwrap();
        assert_eq!(running.wait().unwrap_err().was_started(), Some(true));
        assert_ne!(behind.wait().unwrap(), pid);
        eventually(DEADLINE, "it is no more", || state(pid).is_none());
        pool.finish().unwrap();
        drop((pool, gate));
        clean.after();
    });
}

fn harm(with: impl FnOnce(Chaos) -> Chaos, enough: fn(&Harm) -> bool) -> Harm {
    // Those that are killed before they are ready are no sign that all is lost.
    let pool = builder().restart(u32::MAX, DEADLINE).backoff(Duration::ZERO, Duration::ZERO);
    let pool = pool.build().unwrap();
    let chaos = with(Chaos::new(&pool).seed(7).every(Duration::from_millis(1))).start().unwrap();
    eventually(DEADLINE, "harm is done", || {
        // Without workers there is nobody to do harm to.
        let _ = pool.request(None).idempotent().call().wait();
        enough(&chaos.harm())
    });
    let harm = chaos.stop();
    pool.kill().unwrap();
    pool.finish().unwrap();
    harm
}

#[test]
fn chaos_does_what_it_is_told_and_nothing_else() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let done = harm(|chaos| chaos, |harm| harm.workers > 3);
        assert_eq!((done.templates, done.stalls, done.streams), (0, 0, 0));
        let only = |chaos: Chaos| chaos.kill_workers(0);
        let done = harm(|chaos| only(chaos).kill_templates(1), |harm| harm.templates > 1);
        assert_eq!((done.workers, done.stalls, done.streams), (0, 0, 0));
        let nap = Duration::from_millis(1);
        let done = harm(|chaos| only(chaos).stall_workers(1, nap), |harm| harm.stalls > 3);
        assert_eq!((done.workers, done.templates, done.streams), (0, 0, 0));
        let done = harm(|chaos| only(chaos).drop_fds(1), |harm| harm.streams > 1);
        assert_eq!((done.workers, done.templates, done.stalls), (0, 0, 0));
        // Shares that are too large to be added are shares.
        let both = |chaos: Chaos| chaos.kill_workers(u32::MAX).stall_workers(u32::MAX, nap);
        harm(both, |harm| harm.workers > 1 && harm.stalls > 1);
        clean.after();
    });
}

#[test]
fn chaos_stops_at_once_and_keeps_no_pool() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let calm = pool();
        calm.call(None).wait().unwrap();
        let chaos = Chaos::new(&calm).every(Duration::MAX).start().unwrap();
        assert_eq!(chaos.stop(), Harm::default());
        // It is in the middle of a very long stall.
        let chaos = Chaos::new(&calm).every(Duration::ZERO).kill_workers(0);
        let chaos = chaos.stall_workers(1, Duration::MAX).start().unwrap();
        let pid = calm.pids()[0];
        eventually(DEADLINE, "it is stopped", || state(pid) == Some('T'));
        assert!(format!("{chaos:?}").contains("harm"));
        drop(chaos);
        calm.call(None).wait().unwrap();
        let chaos = Chaos::new(&calm).every(Duration::from_millis(1)).start().unwrap();
        let over = calm.finish().unwrap();
        drop(calm);
        // One that was killed may have been about to end, and have been killed twice.
        assert!(over.died <= chaos.stop().workers);
        clean.after();
    });
}
