//! Pools: jobs that do nothing, jobs that compute, a single call, the first one of a new
//! worker.

use std::hint::black_box;
use std::time::Duration;

use offshoot::{Pool, Process};

use super::create::PLAIN_LINE as FORK;
use crate::Result;
use crate::case::{Against, Case, Program, Work, all_of, timed};

const RPC: &str = "one call of a bare worker";
const THREADS: &str = "two threads, jobs of 1 ms";
const FEW: &str = "scheduler, one job, 10 workers";
/// Jobs that do nothing, for each measurement.
const JOBS: u32 = 50_000;
/// Jobs that compute, for each measurement.
const TASKS: u32 = 200;

pub(crate) fn cases() -> Vec<Case> {
    let case = |group, name, prepare, against, goal| Case {
        group,
        name,
        program: Program::Calls,
        prepare,
        against,
        goal,
    };
    let empty = "pool of 2 workers, jobs that do nothing, by map_unordered";
    let compute = "pool of 2 workers, jobs that compute for 1 ms";
    let single = "pool, a single call";
    let first = "pool without workers";
    let cost = "scheduler alone";
    vec![
        case(empty, "pool, 1,000 calls on each", || no_op(1000), Against::Nothing, "500,000/s"),
        case(empty, "pool, 2 calls on each", || no_op(2), Against::Nothing, ""),
        case(compute, THREADS, threads, Against::Nothing, ""),
        case(compute, "pool, jobs of 1 ms", tasks, Against::Rate(THREADS), "at least 0.95"),
        case(single, RPC, bare, Against::Nothing, ""),
        case(single, "one call of a warm pool", warm, Against::Time(RPC), "at most 1.15"),
        case(first, "spare: until its first answer", spare, Against::Time(FORK), "at most 0.5"),
        case(cost, FEW, || schedule(10), Against::Nothing, ""),
        case(
            cost,
            "scheduler, one job, 10,000 workers",
            || schedule(10_000),
            Against::Time(FEW),
            "below 2",
        ),
    ]
}

#[offshoot::worker]
fn nothing(n: u64) -> u64 {
    n
}

fn no_op(load: usize) -> Result<Work> {
    let pool = Pool::builder(nothing).max(2).load(load).start(Duration::ZERO).build()?;
    // Both are there, and warm.
    for result in pool.map_unordered(0..10_000) {
        result?;
    }
    let jobs = if load > 2 { JOBS } else { JOBS / 10 };
    Ok(Box::new(move || {
        let all = || {
            let mut sum = 0;
            for result in pool.map_unordered(0..u64::from(jobs)) {
                sum += result?;
            }
            Ok(sum)
        };
        Ok(timed(all)?.0 / jobs)
    }))
}

/// About a millisecond.
#[inline(never)]
fn compute(seed: u64) -> u64 {
    (0..700_000u64)
        .fold(seed, |x, i| black_box(x.wrapping_mul(6364136223846793005).wrapping_add(i)))
}

#[offshoot::worker]
fn task(seed: u64) -> u64 {
    compute(seed)
}

fn threads() -> Result<Work> {
    Ok(Box::new(|| {
        let next = std::sync::atomic::AtomicU64::new(0);
        let work = || {
            let mut sum = 0u64;
            loop {
                let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if n >= u64::from(TASKS) {
                    return sum;
                }
                sum = sum.wrapping_add(compute(n));
            }
        };
        let all = || {
            std::thread::scope(|scope| {
                let threads = [scope.spawn(work), scope.spawn(work)];
                threads.into_iter().for_each(|t| {
                    black_box(t.join().expect("it cannot panic"));
                });
            });
            Ok(())
        };
        Ok(timed(all)?.0 / TASKS)
    }))
}

fn tasks() -> Result<Work> {
    let pool = Pool::builder(task).max(2).start(Duration::ZERO).build()?;
    for result in pool.map_unordered(0..20) {
        result?;
    }
    Ok(Box::new(move || {
        let all = || {
            for result in pool.map_unordered(0..u64::from(TASKS)) {
                black_box(result?);
            }
            Ok(())
        };
        Ok(timed(all)?.0 / TASKS)
    }))
}

fn bare() -> Result<Work> {
    let rpc = Process::new()?.rpc(nothing).start()?;
    rpc.call(1).wait()?;
    let work = all_of(move || {
        for n in 0..100 {
            rpc.call(n).wait()?;
        }
        Ok(())
    });
    each(work?, 100)
}

fn warm() -> Result<Work> {
    let pool = Pool::builder(nothing).max(1).build()?;
    pool.call(1).wait()?;
    let work = all_of(move || {
        for n in 0..100 {
            pool.call(n).wait()?;
        }
        Ok(())
    });
    each(work?, 100)
}

/// The time of one, of so many.
fn each(mut work: Work, count: u32) -> Result<Work> {
    Ok(Box::new(move || Ok(work()? / count)))
}

fn spare() -> Result<Work> {
    let pool = Pool::builder(nothing).spares(1).stop(Duration::ZERO).build()?;
    Ok(Box::new(move || {
        // The last one is gone, and the next is there.
        while !pool.pids().is_empty() || pool.stats().spares < 1 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(1));
        Ok(timed(|| Ok(pool.call(1).wait()?))?.0)
    }))
}

fn schedule(workers: usize) -> Result<Work> {
    Ok(Box::new(move || Ok(offshoot::__private_0_1::schedule_cost(workers, 100_000) / 100_000)))
}
