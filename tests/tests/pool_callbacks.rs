//! Callbacks of a pool that use it, wait for it, drop it, or panic.

use std::io::{Read, Write, pipe};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use offshoot::{Call, Context, Error, Fd, Pool, Process};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Makes an event of its argument, and returns it when the gate is open, if there is one.
#[offshoot::worker]
fn tell(cx: &Context<u32>, n: u32, gate: Option<Fd>) -> u32 {
    cx.event(&n);
    gate.inspect(|gate| pass(gate));
    n
}

/// When the gate is open, makes an event, and writes a byte once that is on its way.
#[offshoot::worker]
fn tell_and_write(cx: &Context<u32>, n: u32, gate: Option<Fd>, to: Fd) {
    gate.inspect(|gate| pass(gate));
    cx.event(&n);
    std::thread::sleep(Duration::from_millis(5));
    std::io::PipeWriter::from(to.into_owned().unwrap()).write_all(b"!").unwrap();
}

#[offshoot::worker]
fn crash_or(n: u32) -> u32 {
    if n == 7 {
        std::process::abort();
    }
    n
}

type Tell = Pool<(u32, Option<Fd>), u32, u32>;

/// A pool whose `on_event` gets the pool itself.
fn told(on_event: impl Fn(&Arc<Tell>, u32) + Send + 'static) -> Arc<Tell> {
    let own = Arc::new(OnceLock::<Weak<Tell>>::new());
    let given = Arc::clone(&own);
    let builder = Pool::builder(tell).max(2).load(1).start(Duration::ZERO);
    let pool = builder.on_event(move |_, n| {
        let pool = given.get().and_then(Weak::upgrade);
        on_event(&pool.expect("it is used"), n);
    });
    let pool = Arc::new(pool.build().unwrap());
    own.set(Arc::downgrade(&pool)).unwrap();
    pool
}

#[test]
fn an_event_that_looks_for_another_workers_result_does_not_wait_for_itself() {
    within(DEADLINE, || {
        let (gate, shut) = Gate::new();
        let (mut seen, given) = pipe().unwrap();
        let other = Arc::new(Mutex::new(None::<(Gate, Call<()>)>));
        let looked = Arc::clone(&other);
        let (sender, receiver) = channel();
        let pool = Pool::builder(tell_and_write).max(2).load(1).start(Duration::ZERO);
        let pool = pool.on_event(move |_, n| {
            if n == 1 {
                let (gate, mut call) = looked.lock().unwrap().take().unwrap();
                drop(gate);
                // The other one has made its event, and nobody but this thread reads it.
                seen.read_exact(&mut [0]).unwrap();
                sender.send(call.try_wait().map(drop)).unwrap();
            }
        });
        let pool = pool.build().unwrap();
        let second = pool.call((2, Some(shut), given.into()));
        *other.lock().unwrap() = Some((gate, second));
        let (_own, unused) = pipe().unwrap();
        let first = pool.call((1, None, unused.into()));
        receiver.recv_timeout(DEADLINE).unwrap().unwrap();
        first.wait().unwrap();
        assert_eq!(pool.finish().unwrap().done, 2);
    });
}

#[test]
fn a_wait_in_a_callback_is_refused() {
    within(DEADLINE, || {
        let (sender, receiver) = channel();
        let pool = told(move |pool, n| {
            if n == 0 {
                let mut errors = vec![pool.call((1, None)).wait().map(drop)];
                errors.push(pool.finish_is_refused());
                errors.extend(pool.map([(2, None), (3, None)]).map(|r| r.map(drop)));
                errors.extend(pool.map_unordered([(4, None)]).map(|r| r.map(drop)));
                sender.send(errors).unwrap();
            }
        });
        let call = pool.call((0, None));
        let errors = receiver.recv_timeout(DEADLINE).unwrap();
        assert_eq!(errors.len(), 5);
        assert!(errors.iter().all(|e| e.as_ref().is_err_and(Error::is_deadlock)), "{errors:?}");
        call.wait().unwrap();
        // What was made there is done all the same.
        assert!(pool.finish().unwrap().done >= 2);
    });
}

trait Refused {
    fn finish_is_refused(&self) -> Result<(), Error>;
}

impl Refused for Tell {
    /// Were it not, no more calls would be taken.
    fn finish_is_refused(&self) -> Result<(), Error> {
        self.finish().map(drop)
    }
}

#[test]
fn the_background_thread_cannot_wait_for_a_pool() {
    within(DEADLINE, || {
        let (gate, shut) = Gate::new();
        let pool = Pool::builder(tell).max(1).load(1).build().unwrap();
        let first = pool.call((1, Some(shut)));
        let (sender, receiver) = channel();
        let rpc = Process::new().unwrap().rpc(tell).on_event(move |n: u32| {
            // It is queued, and whoever reads for those that are is here.
            sender.send(pool.call((n, None)).wait()).unwrap();
        });
        let rpc = rpc.start().unwrap();
        let call = rpc.call((2, None));
        let outcome = receiver.recv_timeout(DEADLINE).unwrap();
        assert!(outcome.is_err_and(|e| e.is_deadlock()));
        drop(gate);
        assert_eq!((first.wait().unwrap(), call.wait().unwrap()), (1, 2));
    });
}

#[test]
fn an_error_may_be_answered_with_calls() {
    within(DEADLINE, || {
        let own = Arc::new(OnceLock::<Weak<Pool<u32, u32>>>::new());
        let given = Arc::clone(&own);
        let (sender, receiver) = channel();
        let pool = Pool::builder(crash_or).max(2).load(1).on_error(move |error| {
            let pool = given.get().and_then(Weak::upgrade).expect("it is used");
            assert!(error.is_disconnected() && pool.stats().died > 0);
            // The second one crashes too, and is told of by the same callback, afterwards.
            let again = if pool.stats().died < 3 { 7 } else { 1 };
            let sender = sender.clone();
            pool.call_then(again, move |told| sender.send(told).unwrap());
        });
        let pool = Arc::new(pool.build().unwrap());
        own.set(Arc::downgrade(&pool)).unwrap();
        assert!(pool.call(7).wait().unwrap_err().is_disconnected());
        let told = [(); 3].map(|()| receiver.recv_timeout(DEADLINE).unwrap());
        assert!(told[0].is_err() && told[1].is_err() && *told[2].as_ref().unwrap() == 1);
        assert_eq!(pool.finish().unwrap().died, 3);
    });
}

#[test]
fn an_iterator_that_panics_or_calls_the_pool_harms_no_map() {
    within(DEADLINE, || {
        let pool = Pool::builder(crash_or).max(2).load(2).build().unwrap();
        // Each item is what the pool said of another.
        let items = (10..30).map(|n| pool.call(n).wait().unwrap());
        let told: Result<Vec<u32>, Error> = pool.map(items).collect();
        assert_eq!(told.unwrap(), (10..30).collect::<Vec<_>>());

        let items = (10..30).inspect(|n| assert_ne!(*n, 20, "on purpose"));
        let mut map = pool.map(items);
        let mut told = Vec::new();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            map.by_ref().for_each(|result| told.push(result.unwrap()));
        }));
        assert!(panicked.is_err());
        // The item is lost, and nothing else.
        told.extend(map.map(Result::unwrap));
        assert_eq!(told, (10..30).filter(|n| *n != 20).collect::<Vec<_>>());
        let stats = pool.finish().unwrap();
        assert_eq!((stats.done, stats.failed.total()), (20 + 20 + 19, 0));
    });
}
