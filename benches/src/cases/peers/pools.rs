//! Pools: processes of `procspawn`, and threads of `rayon`, which are the ideal.

use std::collections::VecDeque;
use std::hint::black_box;

use procspawn::{JoinHandle, Pool};
use rayon::iter::{ParallelBridge, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Result;
use crate::case::{Against, Case, Program, Work, timed};
use crate::cases::pools::{COMPUTE, EMPTY, SINGLE, TASKS, THREADS, compute};

/// Jobs of `procspawn` that do nothing, for each measurement.
const JOBS: u32 = 1000;
/// As many on their way: each has four descriptors.
const WINDOW: usize = 100;

pub(crate) fn cases() -> Vec<Case> {
    use Program::{Calls, Respawned};
    let case = |group, name, program, prepare, against| Case {
        group,
        name,
        program,
        prepare,
        against,
        goal: "",
    };
    let rate = Against::Rate(THREADS);
    vec![
        case(EMPTY, "procspawn's pool", Respawned, || jobs(nothing, JOBS), Against::Nothing),
        case(EMPTY, "rayon: threads", Calls, || threads(nothing, 100 * JOBS), Against::Nothing),
        case(COMPUTE, "procspawn's pool, 1 ms", Respawned, || jobs(compute, TASKS), rate),
        case(COMPUTE, "rayon: threads, 1 ms", Calls, || threads(compute, TASKS), rate),
        case(SINGLE, "one call of procspawn's pool", Respawned, single, Against::Nothing),
    ]
}

fn nothing(n: u64) -> u64 {
    n
}

fn jobs(job: fn(u64) -> u64, count: u32) -> Result<Work> {
    let pool = Pool::new(2)?;
    Ok(Box::new(move || {
        let all = || {
            let mut open: VecDeque<JoinHandle<u64>> = VecDeque::new();
            for n in 0..count {
                if open.len() == WINDOW {
                    open.pop_front().map(JoinHandle::join).transpose()?;
                }
                open.push_back(pool.spawn(n.into(), job));
            }
            for rest in open {
                rest.join()?;
            }
            Ok(())
        };
        Ok(timed(all)?.0 / count)
    }))
}

fn single() -> Result<Work> {
    let pool = Pool::new(1)?;
    pool.spawn(1, nothing).join()?;
    Ok(Box::new(move || {
        let all = || {
            for n in 0..100 {
                pool.spawn(n, nothing).join()?;
            }
            Ok(())
        };
        Ok(timed(all)?.0 / 100)
    }))
}

/// Jobs from an iterator, as ours are.
fn threads(job: fn(u64) -> u64, count: u32) -> Result<Work> {
    let threads: ThreadPool = ThreadPoolBuilder::new().num_threads(2).build()?;
    Ok(Box::new(move || {
        let all = || {
            let each = |n| {
                black_box(job(n));
            };
            threads.install(|| (0..count.into()).par_bridge().for_each(each));
            Ok(())
        };
        Ok(timed(all)?.0 / count)
    }))
}
