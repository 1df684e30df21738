//! As many as one likes: in one call, and through one connection.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offshoot::{Context, Fd, Process};
use offshoot_tests::marked::{files, text};
use offshoot_tests::{DEADLINE, within};

/// More than the usual 1,024 may be needed at once.
fn as_many_as_allowed() -> Process {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    Process::new().unwrap().rlimit(offshoot::Resource::OpenFiles, most, most)
}

/// Reads them, and sends them on as an event and as the result.
#[offshoot::worker]
fn many(cx: &Context<Vec<Fd>>, fds: Vec<Fd>) -> (Vec<String>, Vec<Fd>) {
    cx.event(&fds);
    (fds.iter().map(text).collect(), fds)
}

#[test]
fn in_one_call() {
    within(DEADLINE, || {
        let rpc = as_many_as_allowed().rpc(many).start().unwrap();
        let events = rpc.events();
        // About what one message carries, what two carry, and more.
        for count in [0, 1, 252, 253, 254, 505, 506, 507, 1000] {
            let (fds, texts) = files(count);
            let (seen, back) = rpc.call(fds).wait().unwrap();
            assert!(seen == texts, "{count} in the worker");
            assert!(back.iter().map(text).eq(texts.iter().cloned()), "{count} as a result");
            let event = events.recv().unwrap();
            assert!(event.iter().map(text).eq(texts), "{count} as an event");
        }
    });
}

/// How many calls there were before, what is in the files, and every third time the last
/// of them.
#[offshoot::worker(init = Vec::new)]
fn in_turn(seen: &mut Vec<u32>, number: u32, fds: Vec<Fd>) -> (usize, Vec<String>, Option<Fd>) {
    seen.push(number);
    let texts = fds.iter().map(text).collect();
    (seen.len() - 1, texts, fds.into_iter().next_back().filter(|_| number.is_multiple_of(3)))
}

/// Some calls have descriptors, most have none, and one has a body that is not batched.
fn through_one_connection(process: Process, total: usize) {
    let (pool, texts) = files(100);
    let rpc = process.rpc(in_turn).max_in_flight(512).start().unwrap();
    let (mut calls, mut sent) = (Vec::new(), 0);
    for number in 0.. {
        let count = match number % 10 {
            1 => 1,
            4 => 7,
            5 => 2,
            7 => (number as usize / 10) % 30,
            _ => 0,
        };
        let at = |n: usize| (sent + n) % pool.len();
        let fds: Vec<Fd> = (0..count).map(|n| pool[at(n)].clone()).collect();
        let expected: Vec<String> = (0..count).map(|n| texts[at(n)].clone()).collect();
        calls.push((number, expected, rpc.call((number, fds))));
        sent += count;
        if sent >= total {
            break;
        }
    }
    for (number, expected, call) in calls {
        let (before, seen, back) = call.wait().unwrap();
        assert_eq!(before, number as usize, "the order is kept");
        assert_eq!(seen, expected);
        let back_expected = expected.last().filter(|_| number.is_multiple_of(3));
        assert_eq!(back.as_ref().map(text).as_ref(), back_expected);
    }
    assert!(rpc.finish().unwrap().success());
}

#[test]
fn ten_thousand_through_one_connection() {
    within(DEADLINE, || through_one_connection(as_many_as_allowed(), 10_000));
}

/// A worker has no more room than it needs: no call is in the way of another.
#[test]
fn ten_thousand_through_a_worker_with_little_room() {
    within(DEADLINE, || {
        let process = as_many_as_allowed();
        through_one_connection(process.rlimit(offshoot::Resource::OpenFiles, 100, 100), 10_000);
    });
}
