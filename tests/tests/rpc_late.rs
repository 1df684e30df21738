//! Calls that have been answered, and that nobody has read yet: they are not late, nor is
//! their worker to be killed for them; and one who only looks finds them.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::gettid;
use offshoot::{Call, Context, Fd, Pool, Process, RpcBuilder};
use offshoot_tests::entries::answers;
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::{DEADLINE, eventually, state, within};

offshoot::early!();

/// Its process id, told by so many events first; once the gate is open.
#[offshoot::worker]
fn present(cx: &Context<u32>, gate: Option<Fd>, events: u32) -> u32 {
    gate.into_iter().for_each(pass);
    (0..events).for_each(|_| cx.event(&std::process::id()));
    std::process::id()
}

#[offshoot::worker]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

fn worker() -> RpcBuilder<(Option<Fd>, u32), u32, u32> {
    Process::new().unwrap().rpc(present)
}

fn sleeps(id: u32) {
    eventually(DEADLINE, "it sleeps", || state(id) == Some('S'));
}

/// The worker answers at once: that is within this, however busy the machine is.
const TIME: Duration = Duration::from_secs(2);

/// The callbacks of events take longer than calls may, the first one as long as that, and
/// some more for those who keep the time.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Option<Instant>>>);

impl Slow {
    fn begins(&self) {
        *self.0.lock().unwrap() = Some(Instant::now() + TIME + TIME / 4);
    }

    fn callback(&self, pid: u32) {
        let until = self.0.lock().unwrap().take();
        if let Some(until) = until {
            // It has answered all its calls, and waits for more.
            sleeps(pid);
            thread::sleep(until.saturating_duration_since(Instant::now()));
        } else {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Calls that are waited for by a thread each: one runs the callbacks, and the others wait
/// behind that.
fn slow_callback(calls: usize) {
    let slow = Slow::default();
    let callback = slow.clone();
    let rpc = worker().timeout(TIME).on_event(move |pid| callback.callback(pid)).start().unwrap();
    let first = rpc.call((None, 0)).wait().unwrap();
    slow.begins();
    let calls: Vec<_> = (0..calls).map(|n| rpc.call((None, if n == 0 { 10 } else { 0 }))).collect();
    thread::scope(|s| {
        let wait = |call: Call<u32>| s.spawn(|| call.wait());
        for waits in calls.into_iter().map(wait).collect::<Vec<_>>() {
            assert_eq!(waits.join().unwrap().expect("it was answered in time"), first);
        }
    });
    assert_eq!(rpc.call((None, 0)).wait().unwrap(), first);
    assert!(rpc.finish().unwrap().success());
}

#[test]
fn a_call_is_not_late_since_a_callback_takes_long() {
    within(DEADLINE, || slow_callback(1));
}

#[test]
fn calls_are_not_late_since_another_thread_is_in_a_callback() {
    within(DEADLINE, || slow_callback(2));
}

#[test]
fn a_pools_call_is_not_late_since_a_callback_takes_long() {
    within(DEADLINE, || {
        let slow = Slow::default();
        let callback = slow.clone();
        let pool = Pool::builder(present).max(1).timeout(TIME);
        let pool = pool.on_event(move |_, pid| callback.callback(pid)).build().unwrap();
        let first = pool.call((None, 0)).wait().unwrap();
        slow.begins();
        assert_eq!(pool.call((None, 10)).wait().expect("it was answered in time"), first);
        assert_eq!(pool.call((None, 0)).wait().unwrap(), first);
        pool.finish().unwrap();
    });
}

/// A thread that waits for its call runs the callback of another one, which is cancelled
/// meanwhile, and has been answered. Whether it came to that: the hub's thread may have been
/// faster.
fn cancelled_behind_a_callback() -> bool {
    const WAITS: &str = "waits";
    let ((tell, heard), (leave, told)) = (mpsc::channel(), mpsc::channel());
    let rpc = worker().on_event(move |pid| {
        let plays = thread::current().name() == Some(WAITS);
        tell.send((pid, plays)).unwrap();
        if plays {
            told.recv().unwrap();
        }
    });
    let rpc = rpc.start().unwrap();
    let (gate, closed) = Gate::new();
    let (done, behind) = (rpc.call((Some(closed), 1)), rpc.call((None, 0)));
    let (tell, reader) = mpsc::channel();
    let waits = move || {
        tell.send(gettid().as_raw() as u32).unwrap();
        behind.wait()
    };
    let waits = thread::Builder::new().name(WAITS.to_owned()).spawn(waits).unwrap();
    sleeps(reader.recv().unwrap());
    drop(gate);
    let (pid, plays) = heard.recv().unwrap();
    if plays {
        sleeps(pid);
        done.cancel();
        // The hub does what it is asked in order, and so does the template.
        let other = Process::new().unwrap().rpc(add).start().unwrap();
        for n in 0..3 {
            assert_eq!(other.call((n, 1)).into_receiver().recv().unwrap().unwrap(), n + 1);
        }
        answers(Process::new().unwrap());
        leave.send(()).unwrap();
    }
    assert_eq!(waits.join().unwrap().unwrap(), pid);
    if plays {
        assert!(done.wait().unwrap_err().is_cancelled());
    }
    assert_eq!(rpc.call((None, 0)).wait().unwrap(), pid);
    assert!(rpc.finish().unwrap().success());
    plays
}

#[test]
fn a_call_that_is_done_and_cancelled_costs_no_worker_while_a_callback_runs() {
    within(DEADLINE, || while !cancelled_behind_a_callback() {});
}

#[test]
fn a_callback_may_wait_for_another_threads_call_that_has_a_time() {
    within(DEADLINE, || {
        let ((tell, inside), (leave, told)) = (mpsc::channel(), mpsc::channel());
        let rpc = worker().timeout(TIME).on_event(move |_| {
            tell.send(()).unwrap();
            told.recv().unwrap();
        });
        let rpc = Arc::new(rpc.start().unwrap());
        let (gate, closed) = Gate::new();
        let (announced, behind) = (rpc.call((None, 1)), rpc.call((Some(closed), 0)));
        let waits = thread::spawn(move || announced.wait());
        inside.recv().unwrap();
        assert!(behind.wait().unwrap_err().is_timeout());
        leave.send(()).unwrap();
        // It may have been answered in time, or not, on a machine that is busy.
        drop((waits.join().unwrap(), gate));
    });
}

#[test]
fn one_who_waits_for_no_time_finds_what_is_there() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(add).start().unwrap();
        for n in 0..10 {
            let mut call = rpc.call((n, 1));
            let mut result = None;
            eventually(DEADLINE / 2, "there is a result", || {
                result = call.wait_timeout(Duration::ZERO).unwrap();
                result.is_some()
            });
            assert_eq!(result, Some(n + 1));
        }
        assert!(rpc.finish().unwrap().success());
    });
}
