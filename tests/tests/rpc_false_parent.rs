//! A worker whose parent does not keep to the protocol: it says so and ends, soon, and
//! takes no memory on a claim.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::ExitCode;
use std::time::Duration;

use offshoot::__private_0_1::{REGISTRY, Registration};
use offshoot::{Child, Process, Start};
use offshoot_tests::lying::{bytes, header, kind};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::worker]
fn add(a: u8, b: u8) -> u8 {
    a + b
}

/// What the library does as a worker's process, under a name that `run` takes.
#[offshoot::entry]
fn bare(start: Start) -> ExitCode {
    let registered = REGISTRY.iter().find(|r| r.name == add.name()).unwrap();
    match registered.kind {
        Registration::Worker(serve) => serve(start).into(),
        _ => unreachable!("it is a worker"),
    }
}

/// What a worker ends with that does not understand its parent.
const REFUSED: i32 = 70;

/// The first frame: codec, two times nothing, two limits, no spinning, no pool, no init
/// arguments.
fn hello(codec: u8) -> Vec<u8> {
    let body = [codec, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    [&header(body.len() as u32, 0, kind::HELLO, 0)[..], &body].concat()
}

fn call(number: u32, a: u8, b: u8) -> Vec<u8> {
    [&header(2, number, kind::CALL, 0)[..], &[a, b]].concat()
}

fn start() -> Child {
    Process::new().unwrap().run(bare).unwrap()
}

/// Says it, and no more; what comes back, and the status.
fn said(bytes: &[u8]) -> (Vec<u8>, i32) {
    let child = start();
    // It may end before it has heard all.
    let _ = child.stream().write_all(bytes);
    let _ = child.stream().shutdown(Shutdown::Write);
    let mut back = Vec::new();
    let _ = child.stream().read_to_end(&mut back);
    (back, child.wait().unwrap().code().expect("it was not killed"))
}

#[test]
fn a_true_parent_is_served() {
    within(DEADLINE, || {
        let answer = |number, sum| [&header(1, number, kind::REPLY, 0)[..], &[sum]].concat();
        let all = [hello(0), call(1, 2, 3), call(9, 4, 5)].concat();
        assert_eq!(said(&all), ([answer(1, 5), answer(9, 9)].concat(), 0));
        // What was taken out, and what is cancelled too late, is nothing.
        let void = header(0, 7, kind::VOID, 0).to_vec();
        let cancel = header(0, 8, kind::CANCEL, 0).to_vec();
        let all = [hello(0), void, call(1, 2, 3), cancel, call(8, 1, 1)].concat();
        assert_eq!(said(&all), ([answer(1, 5), answer(8, 2)].concat(), 0));
    });
}

#[test]
fn nothing_at_all_is_no_fault() {
    within(DEADLINE, || {
        assert_eq!(said(&[]), (vec![], 0));
        assert_eq!(said(&hello(0)), (vec![], 0));
    });
}

#[test]
fn a_false_parent_is_refused() {
    within(DEADLINE, || {
        let mut lies: Vec<Vec<u8>> = (0..10).map(|seed| bytes(seed, 3000)).collect();
        for lie in &mut lies {
            // Not by chance a claim that has to be waited for.
            lie[8] |= 0xe0;
        }
        lies.extend([
            call(1, 2, 3),
            hello(9),
            header(0, 0, kind::HELLO, 0).to_vec(),
            [&header(20, 0, kind::HELLO, 0)[..], &[0xff; 20]].concat(),
            hello(0)[..15].to_vec(),
            hello(0)[..5].to_vec(),
            [hello(0), hello(0)].concat(),
            [hello(0), call(1, 2, 3)[..13].to_vec()].concat(),
            [hello(0), header(u32::MAX, 1, kind::CALL, 0).to_vec()].concat(),
            [hello(0), header(u32::MAX, 1, kind::CANCEL, 0).to_vec()].concat(),
            [hello(0), header(1, 1, kind::CALL, 1).to_vec(), vec![5]].concat(),
            [hello(0), header(1, 1, kind::CALL, 0xff_ffff).to_vec(), vec![5]].concat(),
        ]);
        for kind in [0, kind::REPLY, kind::FAILED, kind::EVENT, kind::INIT_FAILED, 200] {
            lies.push([hello(0), header(0, 1, kind, 0).to_vec()].concat());
        }
        for lie in lies {
            let (back, status) = said(&lie);
            let begins = &lie[..lie.len().min(40)];
            assert_eq!((back, status), (vec![], REFUSED), "{begins:?}");
        }
    });
}

#[test]
fn what_was_called_before_the_lie_is_answered() {
    within(DEADLINE, || {
        let all = [hello(0), call(1, 2, 3), vec![0xff; 12]].concat();
        let (back, status) = said(&all);
        assert_eq!(status, REFUSED);
        assert_eq!(back, [&header(1, 1, kind::REPLY, 0)[..], &[5]].concat());
    });
}

#[test]
fn arguments_that_are_not_fail_that_call_alone() {
    within(DEADLINE, || {
        let bad = [&header(5, 1, kind::CALL, 0)[..], &[1; 5]].concat();
        let (back, status) = said(&[hello(0), bad, call(2, 2, 3)].concat());
        assert_eq!(status, 0);
        assert_eq!(back[8], kind::FAILED);
        assert!(back.ends_with(&[&header(1, 2, kind::REPLY, 0)[..], &[5]].concat()));
    });
}

#[test]
fn a_claim_takes_no_memory() {
    within(DEADLINE, || {
        let plain = start();
        plain.stream().shutdown(Shutdown::Write).unwrap();
        let child = start();
        child.stream().write_all(&hello(0)).unwrap();
        child.stream().write_all(&header(u32::MAX, 1, kind::CALL, 0)).unwrap();
        assert_eq!(child.wait_timeout(Duration::from_millis(50)).unwrap(), None);
        child.stream().shutdown(Shutdown::Write).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(REFUSED));
        let [peak, plain] = [child, plain].map(|c| c.usage().unwrap().peak_memory);
        assert!(peak < plain + (8 << 20), "{peak} bytes, not {plain}");
    });
}
