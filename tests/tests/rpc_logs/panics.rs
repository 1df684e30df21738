//! A panic of a worker is in the log too.

use offshoot::Process;
use offshoot_tests::logged::{Line, Logged};
use offshoot_tests::{DEADLINE, within};
use tracing::{Level, info, info_span};

use super::{forwarded, message};

const LINE: u32 = line!() + 7;

#[offshoot::worker]
fn panics_if(odd: u32) -> u32 {
    let _inside = info_span!("asked").entered();
    info!("asked about {odd}");
    if odd % 2 == 1 {
        panic!("{odd} is odd");
    }
    odd
}

fn is_panic(line: &Line) -> bool {
    line.from.name() == "panic"
}

#[test]
fn it_is_an_event_with_its_place_before_the_error_of_the_call() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = Process::new().unwrap().rpc(panics_if).keep_after_panic(true);
        let rpc = forwarded(rpc, &logged);
        for n in 0..4 {
            let result = rpc.call(n).wait();
            let events = logged.events();
            let last = events.last().unwrap();
            if n % 2 == 0 {
                assert_eq!(result.unwrap(), n);
                assert_eq!(message(last), format!("asked about {n}"));
                continue;
            }
            let error = result.unwrap_err();
            assert!(is_panic(last));
            assert_eq!(Some(message(last)), error.panic_message());
            assert_eq!(last.fields.text("location"), error.panic_location());
            assert_eq!(last.from.file(), Some(file!()));
            assert_eq!(last.from.line(), Some(LINE));
            assert_eq!(*last.from.level(), Level::ERROR);
            assert_eq!(last.from.target(), "rpc_logs::panics");
            assert_eq!(last.within, ["asked"]);
            let pid = rpc.id().unwrap();
            assert_eq!(last.fields.number("worker.pid"), Some(pid.into()));
        }
        rpc.finish().unwrap();
        assert_eq!(logged.events().iter().filter(|e| is_panic(e)).count(), 2);
        assert_eq!(logged.open_spans(), 0);
    });
}

#[test]
fn a_worker_that_ends_by_it_leaves_no_span_open() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(panics_if), &logged);
        assert!(rpc.call(7).wait().unwrap_err().is_panic());
        let _ = rpc.finish();
        assert!(is_panic(logged.events().last().unwrap()));
        assert_eq!(logged.open_spans(), 0);
    });
}

#[offshoot::worker]
fn aborts_in_a_span() {
    let _inside = info_span!("endless").entered();
    std::process::abort();
}

#[test]
fn the_spans_of_a_worker_that_dies_are_closed() {
    within(DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = forwarded(Process::new().unwrap().rpc(aborts_in_a_span), &logged);
        assert!(rpc.call(()).wait().unwrap_err().is_disconnected());
        let _ = rpc.finish();
        let kinds: Vec<_> = logged.lines().into_iter().map(|l| l.what).collect();
        assert_eq!(kinds, ["new", "enter", "close"]);
        assert_eq!(logged.open_spans(), 0);
    });
}

#[offshoot::worker]
fn another_thread_panics() -> bool {
    std::thread::spawn(|| std::panic::panic_any(5)).join().is_err()
}

#[test]
fn one_of_another_thread_that_has_no_text() {
    within(DEADLINE, || {
        // Wanted or not, it is told; filters here are asked as for any other event.
        for wanted in [true, false] {
            let logged =
                Logged::new(Level::ERROR, move |m| wanted || m.target() != "rpc_logs::panics");
            let rpc = forwarded(Process::new().unwrap().rpc(another_thread_panics), &logged);
            assert!(rpc.call(()).wait().unwrap());
            let said: Vec<_> = logged.events().iter().map(|e| message(e).to_owned()).collect();
            assert_eq!(said, ["(no text)"][..usize::from(wanted)]);
        }
    });
}
