//! What a pool tells those who look on: `tracing` spans, and `metrics` where that is wanted.

use std::time::Duration;

use tracing::Span;
use tracing::field::Empty;

use super::scheduler::Counts;
use crate::error::Fault;

/// The span of a call, from when it is made until it is over.
pub(super) fn span(worker: &'static str) -> Span {
    tracing::debug_span!(
        target: "offshoot::pool",
        "call",
        worker,
        worker.pid = Empty,
        wait_us = Empty,
        run_us = Empty,
        outcome = Empty,
    )
}

/// A call is over.
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "for metrics"))]
pub(super) struct Over {
    pub(super) worker: &'static str,
    pub(super) span: Span,
    pub(super) outcome: &'static str,
    pub(super) wait: Duration,
    pub(super) run: Duration,
}

impl Over {
    pub(super) fn tell(&self, pid: impl FnOnce() -> u32) {
        if !self.span.is_disabled() {
            self.span.record("worker.pid", pid());
            self.span.record("wait_us", self.wait.as_micros() as u64);
            self.span.record("run_us", self.run.as_micros() as u64);
            self.span.record("outcome", self.outcome);
        }
        #[cfg(feature = "metrics")]
        {
            let (worker, outcome) = (self.worker, self.outcome);
            metrics::counter!("offshoot_pool_calls_total", "worker" => worker, "outcome" => outcome)
                .increment(1);
            metrics::histogram!("offshoot_pool_wait_seconds", "worker" => worker)
                .record(self.wait.as_secs_f64());
            metrics::histogram!("offshoot_pool_run_seconds", "worker" => worker)
                .record(self.run.as_secs_f64());
        }
    }
}

/// In a word, why a call failed.
pub(super) fn outcome(fault: &Fault) -> &'static str {
    match fault {
        Fault::Panic { .. } => "panicked",
        Fault::Ended(_) => "died",
        Fault::Timeout => "timed out",
        Fault::Cancelled => "cancelled",
        Fault::Codec { .. } | Fault::TooLarge { .. } => "codec",
        Fault::PoolEnded | Fault::PoolBroken { .. } => "refused",
        _ => "failed",
    }
}

/// What there is now.
#[allow(unused_variables, reason = "without the feature nobody looks")]
pub(super) fn levels(worker: &'static str, counts: &Counts, queued: usize) {
    #[cfg(feature = "metrics")]
    {
        let Counts { starting, idle, busy, retiring, down, spares } = *counts;
        let states = [
            ("starting", starting),
            ("idle", idle),
            ("busy", busy),
            ("retiring", retiring + down),
            ("spare", spares),
        ];
        for (state, count) in states {
            metrics::gauge!("offshoot_pool_workers", "worker" => worker, "state" => state)
                .set(count as f64);
        }
        metrics::gauge!("offshoot_pool_queue", "worker" => worker).set(queued as f64);
    }
}
