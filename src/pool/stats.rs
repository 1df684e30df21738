//! What a pool has done.

use std::fmt;
use std::time::Duration;

use crate::error::Fault;

/// What a pool is doing, and has done so far; see [`Pool::stats`](crate::Pool::stats).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Workers whose init function has not returned yet.
    pub starting: usize,
    /// Workers that are ready and have no call.
    pub idle: usize,
    /// Workers that have calls.
    pub busy: usize,
    /// Workers that take no more calls, and end when they have done those that they have.
    pub retiring: usize,
    /// Workers that are known to be dying, and whose end is not known yet.
    pub dying: usize,
    /// Processes that wait to become workers.
    pub spares: usize,
    /// Calls that wait for a worker.
    pub queued: usize,
    /// Calls that workers have.
    pub running: usize,
    /// Calls that have had a result.
    pub done: u64,
    /// Calls that have failed.
    pub failed: Failures,
    /// How often a call that a dead worker had certainly not started was given to another.
    pub moved: u64,
    /// How often a call was made again because it may be.
    pub retried: u64,
    /// Worker processes that were started.
    pub started: u64,
    /// Workers that ended and were not to.
    pub died: u64,
    /// Workers that were not ready before they ended, or could not be made.
    pub failed_starts: u64,
    /// Workers that the pool has ended: idle ones, and those that were to be recycled.
    pub ended: u64,
    /// How often the template was made again.
    pub templates: u64,
    /// From when calls were made until they were given to a worker that had nothing else to
    /// do before them.
    pub wait: Times,
    /// From then until they were over.
    pub run: Times,
    /// The largest resident set of a worker that has ended, in bytes.
    pub peak_memory: u64,
}

/// Calls that have failed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failures {
    /// The worker function panicked.
    pub panicked: u64,
    /// The worker died.
    pub died: u64,
    /// It took longer than it may.
    pub timed_out: u64,
    /// It was cancelled.
    pub cancelled: u64,
    /// Something could not be encoded or decoded.
    pub codec: u64,
    /// The pool was broken or killed before it was begun.
    pub refused: u64,
    /// Everything else.
    pub other: u64,
}

impl Failures {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Failures { panicked, died, timed_out, cancelled, codec, refused, other } = self;
        panicked + died + timed_out + cancelled + codec + refused + other
    }

    pub(super) fn count(&mut self, fault: &Fault) {
        *match fault {
            Fault::Panic { .. } => &mut self.panicked,
            Fault::Ended(_) => &mut self.died,
            Fault::Timeout => &mut self.timed_out,
            Fault::Cancelled => &mut self.cancelled,
            Fault::Codec { .. } | Fault::TooLarge { .. } => &mut self.codec,
            Fault::PoolEnded | Fault::NoWorker { .. } | Fault::PoolBroken { .. } => {
                &mut self.refused
            }
            _ => &mut self.other,
        } += 1;
    }
}

/// Each power of two is divided into so many parts.
const PARTS: u64 = 16;
const PARTS_LOG: u32 = PARTS.ilog2();
const BUCKETS: usize = (64 - PARTS_LOG as usize + 1) * PARTS as usize;

/// How long something took: a histogram, exact to a sixteenth.
#[derive(Clone, Default)]
pub struct Times {
    /// Empty until there is something to count.
    counts: Vec<u64>,
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Times {
    pub(super) fn record(&mut self, time: Duration) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        self.counts[bucket(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))] += 1;
        self.count += 1;
        self.sum += time;
        self.max = self.max.max(time);
    }

    /// How many were measured.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; zero if there is none.
    pub fn mean(&self) -> Duration {
        let mean = self.sum.as_nanos().checked_div(u128::from(self.count)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// So many percent took no longer than this, rounded up by no more than a sixteenth;
    /// `percent` is from 0 to 100.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (self.count as f64 * percent.clamp(0.0, 100.0) / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(last_of(bucket)).min(self.max);
            }
        }
        self.max
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Times")
            .field("count", &self.count)
            .field("mean", &self.mean())
            .field("p50", &self.percentile(50.0))
            .field("p99", &self.percentile(99.0))
            .field("max", &self.max)
            .finish()
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < PARTS {
        return nanos as usize;
    }
    let power = nanos.ilog2();
    let part = (nanos >> (power - PARTS_LOG)) & (PARTS - 1);
    ((u64::from(power - PARTS_LOG) + 1) * PARTS + part) as usize
}

/// The largest value of a bucket.
fn last_of(bucket: usize) -> u64 {
    let (octave, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    if octave == 0 {
        return part;
    }
    let width = 1 << (octave - 1);
    ((PARTS + part) << (octave - 1)) + (width - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_falls_between_the_ends_of_its_bucket() {
        let mut values: Vec<u64> = (0..64).map(|power| 1 << power).collect();
        values.extend((0..63).map(|power| (1 << power) + (1 << power) / 3));
        values.extend([0, u64::MAX]);
        for value in values {
            let bucket = bucket(value);
            assert!(bucket < BUCKETS && value <= last_of(bucket), "{value}");
            assert!(bucket == 0 || value > last_of(bucket - 1), "{value}");
        }
    }

    #[test]
    fn percentiles_are_exact_to_a_sixteenth() {
        let mut times = Times::default();
        assert_eq!(times.percentile(50.0), Duration::ZERO);
        for micros in 1..=1000 {
            times.record(Duration::from_micros(micros));
        }
        assert_eq!((times.count(), times.max()), (1000, Duration::from_millis(1)));
        assert_eq!(times.mean(), Duration::from_nanos(500_500));
        for (percent, exact) in [(1.0, 10), (50.0, 500), (99.0, 990), (100.0, 1000)] {
            let (found, exact) = (times.percentile(percent), Duration::from_micros(exact));
            assert!(found >= exact && found <= exact + exact / 16, "{percent}: {found:?}");
        }
    }
}
