//! What a pool tells those who look on: `tracing` spans, and `metrics` where that is wanted.

use std::time::Duration;

use tracing::Span;
use tracing::field::Empty;

#[cfg(feature = "metrics")]
use super::scheduler::Counts;
use super::state::Levels;
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
        count(self.worker, self.outcome);
        #[cfg(feature = "metrics")]
        {
            let worker = self.worker;
            metrics::histogram!("offshoot_pool_wait_seconds", "worker" => worker)
                .record(self.wait.as_secs_f64());
            metrics::histogram!("offshoot_pool_run_seconds", "worker" => worker)
                .record(self.run.as_secs_f64());
        }
    }
}

/// A call is over that no worker has had.
pub(super) fn turned_away(worker: &'static str, span: &Span, fault: &Fault, waited: Duration) {
    let outcome = outcome(fault);
    span.record("wait_us", waited.as_micros() as u64);
    span.record("outcome", outcome);
    count(worker, outcome);
}

/// A call was never taken.
pub(super) fn not_taken(span: &Span, fault: &Fault) {
    span.record("outcome", outcome(fault));
}

#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "nobody counts"))]
fn count(worker: &'static str, outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("offshoot_pool_calls_total", "worker" => worker, "outcome" => outcome)
        .increment(1);
}

/// In a word, why a call failed.
pub(super) fn outcome(fault: &Fault) -> &'static str {
    match fault {
        Fault::Panic { .. } => "panicked",
        Fault::Ended(_) => "died",
        Fault::Timeout => "timed out",
        Fault::Cancelled => "cancelled",
        Fault::Codec { .. } | Fault::TooLarge { .. } => "codec",
        Fault::PoolEnded | Fault::NoWorker { .. } | Fault::PoolBroken { .. } => "refused",
        Fault::Full => "full",
        _ => "failed",
    }
}

/// What there was, and what there is now. Told as the difference, so that pools of the same
/// worker are counted together.
#[allow(unused_variables, reason = "without the feature nobody looks")]
pub(super) fn levels(worker: &'static str, before: &Levels, now: &Levels) {
    #[cfg(feature = "metrics")]
    {
        let states = |levels: &Levels| {
            let Counts { starting, idle, busy, retiring, down, spares } = levels.workers;
            [starting, idle, busy, retiring, down, spares]
        };
        let names = ["starting", "idle", "busy", "retiring", "dying", "spare"];
        for (state, (before, now)) in
            names.into_iter().zip(states(before).into_iter().zip(states(now)))
        {
            metrics::gauge!("offshoot_pool_workers", "worker" => worker, "state" => state)
                .increment(now as f64 - before as f64);
        }
        metrics::gauge!("offshoot_pool_queue", "worker" => worker)
            .increment(now.queued as f64 - before.queued as f64);
    }
}
