//! Much at a time: threads, events, bytes.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Select};
use offshoot::{Call, Context, Error, Octets, Process, Rpc};
use offshoot_tests::block_on::{all, block_on};
use offshoot_tests::lying::Random;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::worker]
fn twice(n: u64) -> u64 {
    2 * n
}

/// Makes so many events, with numbers from `from` on, and returns the next number.
#[offshoot::worker]
fn count(cx: &Context<u64>, from: u64, events: u64) -> u64 {
    (from..from + events).for_each(|n| cx.event(&n));
    from + events
}

#[offshoot::worker(codec = Octets)]
fn back(bytes: Bytes) -> Bytes {
    bytes
}

/// Waits for all of them, whichever comes first.
fn select(receivers: &[Receiver<Result<u64, Error>>]) -> Vec<u64> {
    let mut select = Select::new();
    receivers.iter().for_each(|r| {
        select.recv(r);
    });
    let mut results = vec![None; receivers.len()];
    for _ in receivers {
        let ready = select.select();
        let index = ready.index();
        results[index] = Some(ready.recv(&receivers[index]).unwrap().unwrap());
        select.remove(index);
    }
    results.into_iter().flatten().collect()
}

fn waited_for(way: u64, calls: Vec<Call<u64>>) -> Vec<u64> {
    match way {
        0 => calls.into_iter().map(|call| call.wait().unwrap()).collect(),
        1 => block_on(all(calls)).into_iter().map(Result::unwrap).collect(),
        2 => select(&calls.into_iter().map(Call::into_receiver).collect::<Vec<_>>()),
        _ => {
            let wait = |mut call: Call<u64>| loop {
                if let Some(n) = call.wait_timeout(DEADLINE).unwrap() {
                    break n;
                }
            };
            calls.into_iter().rev().map(wait).rev().collect()
        }
    }
}

fn call_in_all_ways(rpc: &Rpc<u64, u64>, seed: u64) {
    let mut random = Random::new(seed);
    for round in 0..100 {
        let args: Vec<u64> = (0..random.below(40)).map(|n| seed << 32 | round << 16 | n).collect();
        let calls = match random.below(2) {
            0 => args.iter().map(|n| rpc.call(*n)).collect(),
            _ => args.iter().map(|n| block_on(rpc.call_async(*n))).collect(),
        };
        let doubled: Vec<u64> = args.iter().map(|n| 2 * n).collect();
        assert_eq!(waited_for(random.below(4), calls), doubled);
    }
}

#[test]
fn eight_threads_call_through_one_handle() {
    within(DEADLINE, || {
        for max in [1024, 3] {
            let rpc = Process::new().unwrap().rpc(twice).max_in_flight(max).start().unwrap();
            std::thread::scope(|s| {
                for seed in 0..8 {
                    let rpc = &rpc;
                    // With three places, one thread that holds them waits for no more.
                    s.spawn(move || match max {
                        3 => (0..300).for_each(|n| {
                            assert_eq!(waited_for(n % 4, vec![rpc.call(n)]), [2 * n]);
                        }),
                        _ => call_in_all_ways(rpc, seed),
                    });
                }
            });
            assert!(rpc.finish().unwrap().success());
        }
    });
}

#[test]
fn a_hundred_thousand_events_and_replies_keep_their_order() {
    within(DEADLINE, || {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let rpc = Process::new()
            .unwrap()
            .rpc(count)
            .on_event(move |n| heard.lock().unwrap().push(n))
            .start()
            .unwrap();
        let (mut random, mut next, mut calls) = (Random::new(9), 0, Vec::new());
        while next < 84_000 {
            let events = random.below(9);
            calls.push((next + events, rpc.call((next, events))));
            next += events;
        }
        assert!(calls.len() + 84_000 >= 100_000, "{} calls", calls.len());
        for (end, call) in calls {
            assert_eq!(call.wait().unwrap(), end);
            // All that was made before the reply was told before it.
            assert!(said.lock().unwrap().len() as u64 >= end);
        }
        assert!(rpc.finish().unwrap().success());
        let said = said.lock().unwrap();
        assert!((0..next).eq(said.iter().copied()));
    });
}

#[test]
fn a_gibibyte_there_and_back() {
    within(2 * DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(back).start().unwrap();
        let mut large = vec![0u8; 1 << 30];
        // Each page is another.
        (0..large.len()).step_by(4096).for_each(|at| large[at] = (at >> 12) as u8 | 1);
        let large = Bytes::from(large);
        let result = rpc.call(large.clone()).wait().unwrap();
        assert!(result == large);
        drop(result);
        let small = Bytes::from_static(b"small");
        assert_eq!(rpc.call(small.clone()).wait().unwrap(), small);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn parts_of_all_sizes_go_through_whatever_is_before_and_behind() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(back).start().unwrap();
        let mut random = Random::new(4);
        for _ in 0..20 {
            let sizes: Vec<usize> = (0..20)
                .map(|_| {
                    let edge = [0, 4 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10];
                    edge[random.below(6) as usize] + random.below(40) as usize
                })
                .collect();
            let values: Vec<Bytes> =
                sizes.iter().map(|size| Bytes::from(vec![random.number() as u8; *size])).collect();
            let calls: Vec<_> = values.iter().map(|v| rpc.call(v.clone())).collect();
            for (value, call) in values.iter().zip(calls) {
                assert!(call.wait().unwrap() == *value);
            }
        }
        assert!(rpc.finish().unwrap().success());
    });
}
