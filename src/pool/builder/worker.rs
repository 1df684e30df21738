//! What each worker of a pool is: how it speaks, and what its process is limited to.

use std::any::TypeId;
use std::path::PathBuf;

use serde::Serialize;

use super::PoolBuilder;
use crate::config::Resource;
use crate::process::Process;

impl<A: 'static, R: Send + 'static, E: Send + 'static> PoolBuilder<A, R, E> {
    /// Arguments for the worker's init function: exactly of the type that it has.
    pub fn init<I: Serialize + 'static>(mut self, given: I) -> Self {
        self.terms.init(&given);
        self
    }

    /// Another codec than the worker's own; see [`RpcBuilder::codec`](crate::RpcBuilder::codec).
    pub fn codec<C: 'static>(mut self, _: C) -> Self {
        self.terms.codec = Some(TypeId::of::<C>());
        self
    }

    /// The largest result or event; see [`RpcBuilder::max_reply`](crate::RpcBuilder::max_reply).
    pub fn max_reply(mut self, bytes: u32) -> Self {
        self.terms.limits.max_reply = bytes;
        self
    }

    /// Whether a worker goes on after a panic; see
    /// [`RpcBuilder::keep_after_panic`](crate::RpcBuilder::keep_after_panic).
    pub fn keep_after_panic(mut self, keep: bool) -> Self {
        self.terms.limits.keep_after_panic = keep;
        self
    }

    /// See [`RpcBuilder::spin`](crate::RpcBuilder::spin).
    pub fn spin(mut self, spin: bool) -> Self {
        self.terms.limits.spin = spin;
        self
    }

    /// Whether what workers log goes to this program's subscriber: the one that is current
    /// where [`build`](PoolBuilder::build) is called, for all workers that there will ever
    /// be. See [`RpcBuilder::forward_logs`](crate::RpcBuilder::forward_logs).
    pub fn forward_logs(mut self, forward: bool) -> Self {
        self.terms.forward_logs = forward;
        self
    }

    /// Keeps what workers write to standard error: the last 4 KiB of one that dies are in
    /// the errors of its calls ([`stderr_tail`](crate::Error::stderr_tail)). Nothing of it goes
    /// anywhere else.
    pub fn capture_stderr(mut self, capture: bool) -> Self {
        self.capture_stderr = capture;
        self
    }

    /// Limits a resource of each worker; see [`Process::rlimit`].
    pub fn rlimit(self, resource: Resource, soft: u64, hard: u64) -> Self {
        self.step(move |process| process.rlimit(resource, soft, hard))
    }

    /// Sets the niceness of each worker; see [`Process::nice`].
    pub fn nice(self, nice: i32) -> Self {
        self.step(move |process| process.nice(nice))
    }

    /// The CPUs on which workers may run; see [`Process::cpu_affinity`].
    pub fn cpu_affinity(self, cpus: impl IntoIterator<Item = usize>) -> Self {
        let cpus: Vec<usize> = cpus.into_iter().collect();
        self.step(move |process| process.cpu_affinity(cpus.iter().copied()))
    }

    /// The control group in which workers run; see [`Process::cgroup`].
    pub fn cgroup(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.step(move |process| process.cgroup(&path))
    }

    fn step(mut self, step: impl Fn(Process) -> Process + Send + Sync + 'static) -> Self {
        self.steps.push(Box::new(step));
        self
    }
}
