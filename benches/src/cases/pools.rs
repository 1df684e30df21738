//! Pools: jobs that do nothing, jobs that compute, a single call, the first one of a new
//! worker.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use offshoot::{Pool, Process};

use super::create::{APART, PLAIN_LINE_APART as FORK};
use crate::Result;
use crate::case::{Against, Case, Program, Work, all_of, timed};
use crate::plain;

pub(super) const EMPTY: &str = "2 workers, jobs that do nothing, results as they come";
pub(super) const COMPUTE: &str = "2 workers, jobs that take 1 ms of a CPU";
pub(super) const SINGLE: &str = "a single call of a worker that waits";
pub(super) const THREADS: &str = "two threads, jobs of 1 ms";
const RPC: &str = "one call of a bare worker";
const FEW: &str = "scheduler, one job, 10 workers";
/// Jobs that do nothing, for each measurement.
const JOBS: u32 = 50_000;
/// Jobs that compute, for each measurement.
pub(super) const TASKS: u32 = 100;

pub(crate) fn cases() -> Vec<Case> {
    let case = |group, name, prepare, against, goal| Case {
        group,
        name,
        program: Program::Calls,
        prepare,
        against,
        goal,
    };
    let first = "pool without workers: until a first answer";
    let cost = "scheduler alone, every other worker busy";
    let against = Against::Time(FEW);
    vec![
        case(EMPTY, "pool, 1,000 calls on each", || no_op(1000), Against::Nothing, "500,000/s"),
        case(EMPTY, "pool, 2 calls on each", || no_op(2), Against::Nothing, ""),
        case(COMPUTE, THREADS, threads, Against::Nothing, ""),
        case(COMPUTE, "pool, jobs of 1 ms", tasks, Against::Rate(THREADS), "at least 0.95"),
        case(SINGLE, RPC, bare, Against::Nothing, ""),
        case(SINGLE, "one call of a warm pool", warm, Against::Time(RPC), "at most 1.15"),
        case(first, "pool with a spare", || first_answer(1), Against::Time(FORK), "at most 0.5"),
        case(first, "pool without", || first_answer(0), Against::Time(FORK), ""),
        case(cost, FEW, || schedule(10), Against::Nothing, ""),
        case(cost, "scheduler, one job, 100 workers", || schedule(100), against, ""),
        case(cost, "scheduler, one job, 1,000 workers", || schedule(1000), against, ""),
        case(cost, "scheduler, one job, 10,000 workers", || schedule(10_000), against, "below 2"),
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

/// Has a CPU compute for a millisecond, however fast it is, and whatever else it does: so
/// it is the same for every library and every language.
pub(super) fn compute(seed: u64) -> u64 {
    const TAKES: Duration = Duration::from_millis(1);
    let start = plain::cpu_time();
    let mut x = seed;
    while plain::cpu_time() - start < TAKES {
        for i in 0..10_000 {
            x = black_box(x.wrapping_mul(6364136223846793005).wrapping_add(i));
        }
    }
    x
}

#[offshoot::worker]
fn task(seed: u64) -> u64 {
    compute(seed)
}

fn threads() -> Result<Work> {
    Ok(Box::new(|| {
        let next = AtomicU32::new(0);
        let work = || {
            while let n @ ..TASKS = next.fetch_add(1, Ordering::Relaxed) {
                black_box(compute(n.into()));
            }
        };
        let both = || {
            thread::scope(|scope| {
                scope.spawn(work);
                scope.spawn(work);
            });
            Ok(())
        };
        Ok(timed(both)?.0 / TASKS)
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

/// Of a pool that has no workers; the last one is gone for 1 ms, and the next spare there.
fn first_answer(spares: usize) -> Result<Work> {
    // Not at once: ending a worker is no part of its answer.
    let pool = Pool::builder(nothing).spares(spares).stop(APART).build()?;
    Ok(Box::new(move || {
        while !pool.pids().is_empty() || pool.stats().spares < spares {
            thread::yield_now();
        }
        thread::sleep(APART);
        Ok(timed(|| Ok(pool.call(1).wait()?))?.0)
    }))
}

fn schedule(workers: usize) -> Result<Work> {
    Ok(Box::new(move || Ok(offshoot::__private_0_1::schedule_cost(workers, 100_000) / 100_000)))
}
