//! A pool is dropped, finished or killed, wherever its calls are.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use offshoot::pool::PoolBuilder;
use offshoot::{Context, Fd, Pool};
use offshoot_tests::block_on::block_on;
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::probe::Clean;
use offshoot_tests::{DEADLINE, eventually, state, within};

offshoot::early!();

/// Makes an event of its argument, and returns it, when the gate is open if there is one.
#[offshoot::worker]
fn tell(cx: &Context<u32>, n: u32, gate: Option<Fd>) -> u32 {
    cx.event(&n);
    gate.inspect(|gate| pass(gate));
    n
}

type Tell = Pool<(u32, Option<Fd>), u32, u32>;

/// One that says when it is over.
fn builder(over: &Sender<()>) -> PoolBuilder<(u32, Option<Fd>), u32, u32> {
    let over = over.clone();
    let builder = Pool::builder(tell).max(2).load(2).start(Duration::ZERO);
    builder.on_event(|_, _| ()).on_destroy(move || over.send(()).unwrap())
}

#[test]
fn who_waits_for_the_end_does_not_go_on_before_on_destroy_has() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let ((begins, begun), (leave, left)) = (channel(), channel());
        let over = Arc::new(AtomicBool::new(false));
        let tells = Arc::clone(&over);
        let pool = Pool::builder(tell).on_event(|_, _| ()).on_destroy(move || {
            begins.send(()).unwrap();
            left.recv().unwrap();
            tells.store(true, Ordering::SeqCst);
        });
        let pool = pool.build().unwrap();
        std::thread::scope(|s| {
            s.spawn(|| pool.kill().unwrap());
            begun.recv().unwrap();
            let (at, waits) = channel();
            let (pool, over) = (&pool, &over);
            let finishes = s.spawn(move || {
                at.send(nix::unistd::gettid().as_raw() as u32).unwrap();
                pool.finish().unwrap();
                over.load(Ordering::SeqCst)
            });
            let awaits = s.spawn(|| {
                block_on(pool.finish_async()).unwrap();
                over.load(Ordering::SeqCst)
            });
            let tid = waits.recv().unwrap();
            eventually(DEADLINE, "it waits, or has not waited", || {
                finishes.is_finished() || state(tid) == Some('S')
            });
            leave.send(()).unwrap();
            assert!(finishes.join().unwrap() && awaits.join().unwrap(), "it had been told");
        });
        drop(pool);
        clean.after();
    });
}

#[test]
fn drop_lets_what_runs_and_what_waits_be_done() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let (sender, over) = channel();
        let pool = builder(&sender).build().unwrap();
        let (gate, shut) = Gate::new();
        let (other_gate, other_shut) = Gate::new();
        let running = [pool.call((0, Some(shut))), pool.call((1, Some(other_shut)))];
        let waiting: Vec<_> = (2..20).map(|n| pool.call((n, None))).collect();
        drop(pool);
        assert!(over.try_recv().is_err());
        drop((gate, other_gate));
        for (n, call) in (0..).zip(running.into_iter().chain(waiting)) {
            assert_eq!(call.wait().unwrap(), n);
        }
        over.recv_timeout(DEADLINE).unwrap();
        clean.after();
    });
}

#[test]
fn calls_whose_handles_are_dropped_too_are_done() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let (sender, over) = channel();
        let heard = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&heard);
        let pool = builder(&sender).on_event(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let pool = pool.build().unwrap();
        (0..50).for_each(|n| drop(pool.call((n, None))));
        drop(pool);
        over.recv_timeout(DEADLINE).unwrap();
        assert_eq!(heard.load(Ordering::Relaxed), 50);
        clean.after();
    });
}

#[test]
fn a_map_goes_on_without_the_pools_handle_until_it_wants_more() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let (sender, over) = channel();
        let pool = builder(&sender).build().unwrap();
        let mut map = pool.map((0..100).map(|n| (n, None)));
        assert_eq!(map.next().unwrap().unwrap(), 0);
        drop(pool);
        let rest: Vec<_> = map.by_ref().collect();
        assert_eq!(rest.len(), 99);
        let done = rest.iter().take_while(|told| told.is_ok()).count();
        assert!(rest[done..].iter().all(|told| told.as_ref().is_err_and(|e| e.is_pool_ended())));
        over.recv_timeout(DEADLINE).unwrap();
        drop(map);
        clean.after();
    });
}

#[test]
fn kill_ends_what_runs_and_refuses_what_waits() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let (sender, over) = channel();
        let (begins, begun) = channel();
        let pool = builder(&sender).max(1).load(1).queue_limit(1);
        let pool = pool.on_event(move |_, n| begins.send(n).unwrap()).build().unwrap();
        let (gate, shut) = Gate::new();
        let running = pool.call((0, Some(shut)));
        assert_eq!(begun.recv_timeout(DEADLINE), Ok(0));
        let queued = pool.call((1, None));
        std::thread::scope(|s| {
            // There is no room for this one.
            let (entered, enter) = channel();
            let pool = &pool;
            let outside = s.spawn(move || {
                entered.send(()).unwrap();
                pool.call((2, None)).wait()
            });
            enter.recv().unwrap();
            pool.kill().unwrap();
            let error = running.wait().unwrap_err();
            assert_eq!(error.killed_because(), Some("its pool was killed"), "{error}");
            assert!(queued.wait().unwrap_err().is_pool_ended());
            assert!(outside.join().unwrap().unwrap_err().is_pool_ended());
        });
        assert!(pool.call((3, None)).wait().unwrap_err().is_pool_ended());
        over.recv_timeout(DEADLINE).unwrap();
        let stats = pool.finish().unwrap();
        assert_eq!((stats.queued, stats.running, stats.done), (0, 0, 0));
        drop((pool, gate));
        clean.after();
    });
}

#[test]
fn kill_ends_workers_that_are_being_made() {
    within(DEADLINE, || {
        let clean = Clean::before();
        for round in 0..120 {
            let (sender, over) = channel();
            let pool = builder(&sender).spares(round % 3).capture_stderr(true).build().unwrap();
            std::thread::scope(|s| {
                let calling = s.spawn(|| pool.call((1, None)).wait());
                // Anywhere between before it is made and after it has answered.
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(40 + 10 * (round as u64 % 40)) {
                    std::hint::spin_loop();
                }
                pool.kill().unwrap();
                let told = calling.join().unwrap();
                assert!(
                    told.as_ref()
                        .map_or_else(|e| e.is_disconnected() || e.is_pool_ended(), |n| *n == 1)
                );
            });
            over.recv_timeout(DEADLINE).unwrap();
            assert!(pool.pids().is_empty());
            assert_eq!(pool.finish().unwrap().running, 0);
        }
        clean.after();
    });
}

#[test]
fn a_call_without_room_is_told_when_the_pool_is_finished() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let (sender, _over) = channel();
        let pool = builder(&sender).max(1).load(1).queue_limit(0).build().unwrap();
        let (gate, shut) = Gate::new();
        let running = pool.call((0, Some(shut)));
        std::thread::scope(|s| {
            let calling = [0, 1].map(|_| s.spawn(|| pool.call((1, None)).wait()));
            let awaiting = s.spawn(|| block_on(async { pool.call_async((1, None)).await.await }));
            let finishing = s.spawn(|| pool.finish());
            // They are told at once: what runs is waited for by nobody but `finish`.
            let told = calling.map(|call| call.join().unwrap());
            assert!(told.iter().all(|told| told.as_ref().is_err_and(|e| e.is_pool_ended())));
            assert!(awaiting.join().unwrap().is_err_and(|error| error.is_pool_ended()));
            drop(gate);
            finishing.join().unwrap().unwrap();
        });
        assert_eq!(running.wait().unwrap(), 0);
        drop(pool);
        clean.after();
    });
}

/// Where the pool is dropped from: in its own callbacks.
fn dropped_in(
    put: impl FnOnce(
        PoolBuilder<(u32, Option<Fd>), u32, u32>,
        Holder,
    ) -> PoolBuilder<(u32, Option<Fd>), u32, u32>,
    then: impl FnOnce(&Tell, Holder),
) {
    let clean = Clean::before();
    let (sender, over) = channel();
    let holder = Holder::default();
    let pool = put(builder(&sender), holder.clone()).build().unwrap();
    let calls: Vec<_> = (0..10).map(|n| pool.call((n, None))).collect();
    then(&pool, holder.clone());
    *holder.0.lock().unwrap() = Some(pool);
    // Whoever comes after this was stored drops it.
    let last = holder.0.lock().unwrap().as_ref().map(|pool| pool.call((10, None)));
    over.recv_timeout(DEADLINE).unwrap();
    assert!(calls.into_iter().chain(last).all(|call| call.wait().is_ok()));
    clean.after();
}

#[derive(Clone, Default)]
struct Holder(Arc<Mutex<Option<Tell>>>);

impl Holder {
    fn drop_it(&self) {
        let pool = self.0.lock().unwrap().take();
        drop(pool);
    }
}

#[test]
fn it_may_be_dropped_by_an_event() {
    within(DEADLINE, || {
        dropped_in(|builder, holder| builder.on_event(move |_, _| holder.drop_it()), |_, _| ());
    });
}

#[test]
fn it_may_be_dropped_by_a_result() {
    within(DEADLINE, || {
        dropped_in(
            |builder, _| builder,
            |pool, holder| {
                let (gate, shut) = Gate::new();
                pool.call_then((11, Some(shut)), move |_| {
                    while holder.0.lock().unwrap().is_none() {
                        std::thread::yield_now();
                    }
                    holder.drop_it();
                });
                drop(gate);
            },
        );
    });
}

#[test]
fn callbacks_that_panic_harm_nothing() {
    within(DEADLINE, || {
        let clean = Clean::before();
        let (sender, told) = channel();
        let pool = Pool::builder(tell)
            .on_event(|_, _| panic!("of an event, on purpose"))
            .on_error(|_| panic!("of an error, on purpose"))
            .on_destroy(|| panic!("at the end, on purpose"))
            .build()
            .unwrap();
        for n in 0..3 {
            assert_eq!(pool.call((n, None)).wait().unwrap(), n);
            let sender = sender.clone();
            pool.call_then((n, None), move |told| {
                sender.send(told.unwrap()).unwrap();
                panic!("of a result, on purpose");
            });
            assert_eq!(told.recv_timeout(DEADLINE).unwrap(), n);
            let (_gate, shut) = Gate::new();
            let running = pool.call((n, Some(shut)));
            running.cancel();
            assert!(running.wait().unwrap_err().is_cancelled());
        }
        assert_eq!(pool.finish().unwrap().done, 6);
        drop(pool);
        clean.after();
    });
}
