//! Workers that are killed at random, or kill themselves: no call that may have run is
//! called one that did not.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use offshoot::{Error, Process, RunArgs};
use offshoot_tests::lying::Random;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Notes in a file that it was begun.
fn log(queued: RunArgs) -> File {
    File::from(queued.fds.into_iter().next().expect("a file was sent"))
}

#[offshoot::worker(init = log)]
fn note(log: &mut File, n: u32) -> u32 {
    log.write_all(&n.to_le_bytes()).unwrap();
    n
}

/// The same; the last call ends the process.
#[offshoot::worker(init = log)]
fn note_until(log: &mut File, n: u32, last: u32) -> u32 {
    log.write_all(&n.to_le_bytes()).unwrap();
    if n == last {
        std::process::abort();
    }
    n
}

/// Calls `note` many times and kills it somewhere; what became of each call has to fit
/// what the worker has noted.
fn killed_at_random(random: &mut Random, calls: u32) {
    let mut noted = tempfile::tempfile().unwrap();
    let process = Process::new().unwrap().send_fd(&noted);
    let rpc = process.rpc(note).start().unwrap();
    let (before, delay) = (random.below(u64::from(calls) + 1) as u32, random.below(1500));
    let outcomes: Vec<_> = std::thread::scope(|s| {
        let mut made: Vec<_> = (0..before).map(|n| rpc.call(n)).collect();
        s.spawn(|| {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(delay) {
                std::hint::spin_loop();
            }
            rpc.kill().unwrap();
        });
        made.extend((before..calls).map(|n| rpc.call(n)));
        if delay % 2 == 0 {
            made.into_iter().map(|call| call.wait()).collect()
        } else {
            let receivers: Vec<_> = made.into_iter().map(|call| call.into_receiver()).collect();
            receivers.into_iter().map(|r| r.recv().expect("it is told")).collect()
        }
    });
    let lost = outcomes.iter().any(Result::is_err);
    assert_eq!(rpc.finish().is_err(), lost);
    accounted_for(outcomes, &mut noted);
}

fn accounted_for(outcomes: Vec<Result<u32, Error>>, noted: &mut File) -> usize {
    let mut bytes = Vec::new();
    noted.seek(SeekFrom::Start(0)).unwrap();
    noted.read_to_end(&mut bytes).unwrap();
    let ran: Vec<u32> =
        bytes.chunks_exact(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect();
    let distinct: BTreeSet<_> = ran.iter().copied().collect();
    assert_eq!(distinct.len(), ran.len(), "no call runs twice");
    let mut answered = 0;
    for (n, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(answer) => {
                assert_eq!(answer, n);
                assert_eq!(answered, n, "those that are answered are the first ones");
                assert!(distinct.contains(&n));
                answered += 1;
            }
            Err(error) => {
                assert!(error.is_disconnected(), "{error}");
                let started = error.was_started().expect("of each it is known");
                assert!(started || !distinct.contains(&n), "{n} ran: {error}");
            }
        }
    }
    answered as usize
}

#[test]
fn a_thousand_workers_are_killed_at_random_points() {
    within(2 * DEADLINE, || {
        let mut random = Random::new(3);
        for _ in 0..1000 {
            let calls = 1 + random.below(150) as u32;
            killed_at_random(&mut random, calls);
        }
    });
}

#[test]
fn a_call_that_ends_the_process_was_started() {
    within(DEADLINE, || {
        for last in (0..2000).step_by(97) {
            let mut noted = tempfile::tempfile().unwrap();
            let process = Process::new().unwrap().send_fd(&noted);
            let rpc = process.rpc(note_until).max_in_flight(5000).start().unwrap();
            let calls: Vec<_> = (0..2100).map(|n| rpc.call((n, last))).collect();
            let outcomes = calls.into_iter().map(|call| call.wait()).collect();
            accounted_for(outcomes, &mut noted);
            assert_eq!(rpc.finish().unwrap_err().exit_status().unwrap().signal(), Some(6));
        }
    });
}
