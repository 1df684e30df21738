//! What is done about trouble: calls that take too long, workers that cannot start, calls that
//! may be made again.

use std::time::Duration;

use super::PoolBuilder;

impl<A: 'static, R: Send + 'static, E: Send + 'static> PoolBuilder<A, R, E> {
    /// How long a call may *run*. One that takes longer fails with
    /// [`is_timeout`](crate::Error::is_timeout), and its worker is killed if it is synchronous:
    /// calls behind it go to others. What a call waits, be it in its worker, is not counted.
    /// A worker that does not get ready within that time is killed too, and its first call is
    /// late.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// When to give up: if so many workers in a row, within this time, have died before
    /// their init function returned (or could not be made), and there is no other, the pool
    /// is broken: all calls fail with [`is_pool_broken`](crate::Error::is_pool_broken), which says
    /// why, until [`reload`](crate::Pool::reload). 5 within 10 s unless said otherwise.
    ///
    /// What may pass breaks no pool: where workers cannot be made for want of descriptors,
    /// processes or memory, the calls that wait fail with that after so many attempts
    /// ([`is_resource`](crate::Error::is_resource)), and those to come are tried again.
    pub fn restart(mut self, intensity: u32, period: Duration) -> Self {
        self.rules.restart.intensity = intensity.max(1);
        self.rules.restart.period = period;
        self
    }

    /// How long to wait after such a death, and after that of a worker that was ready and
    /// had done nothing: the first time, and doubled each time, at most.
    /// 10 ms and 1 s unless said otherwise. Where workers cannot be made for want of something,
    /// it is a millisecond at least.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.rules.restart.backoff = first;
        self.rules.restart.backoff_max = most.max(first);
        self
    }

    /// How often a call that is [idempotent](crate::pool::Request::idempotent) is made again
    /// after a worker has died of it; once unless said otherwise.
    pub fn retry(mut self, times: u32) -> Self {
        self.retry = times;
        self
    }
}
