//! What the pool is doing, as JSON.

use std::time::Duration;

use offshoot::pool::Times;
use serde::Serialize;

use crate::service::Thumbnails;

/// Of now, and since the start.
#[derive(Serialize)]
pub(crate) struct Figures {
    workers: Workers,
    pids: Vec<u32>,
    queued: usize,
    running: usize,
    done: u64,
    failed: Failed,
    moved: u64,
    retried: u64,
    workers_started: u64,
    workers_died: u64,
    wait_ms: Milliseconds,
    run_ms: Milliseconds,
}

#[derive(Serialize)]
struct Workers {
    starting: usize,
    idle: usize,
    busy: usize,
    retiring: usize,
}

#[derive(Serialize)]
struct Failed {
    died: u64,
    timed_out: u64,
    panicked: u64,
    all: u64,
}

#[derive(Serialize)]
struct Milliseconds {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Figures {
    pub(crate) fn of(pool: &Thumbnails) -> Figures {
        let stats = pool.stats();
        Figures {
            workers: Workers {
                starting: stats.starting,
                idle: stats.idle,
                busy: stats.busy,
                retiring: stats.retiring,
            },
            pids: pool.pids(),
            queued: stats.queued,
            running: stats.running,
            done: stats.done,
            failed: Failed {
                died: stats.failed.died,
                timed_out: stats.failed.timed_out,
                panicked: stats.failed.panicked,
                all: stats.failed.total(),
            },
            moved: stats.moved,
            retried: stats.retried,
            workers_started: stats.started,
            workers_died: stats.died,
            wait_ms: Milliseconds::of(&stats.wait),
            run_ms: Milliseconds::of(&stats.run),
        }
    }
}

impl Milliseconds {
    fn of(times: &Times) -> Milliseconds {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99) = (times.percentile(50.0), times.percentile(99.0));
        Milliseconds { p50: ms(p50), p99: ms(p99), max: ms(times.max()) }
    }
}
