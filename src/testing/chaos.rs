//! Faults at random.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Held, cut};
use crate::error::Error;
use crate::pool::{Inmates, Pool};

/// Does harm to the processes of a pool at random, from a thread of its own.
///
/// Unless said otherwise it kills workers, one every 10 ms.
#[must_use = "nothing happens before `start`"]
pub struct Chaos {
    pool: Inmates,
    seed: u64,
    every: Duration,
    parts: [u32; 4],
    stall: Duration,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Harm {
    /// Workers that were killed.
    pub workers: u64,
    /// Templates that were killed.
    pub templates: u64,
    /// Workers that were stopped for a while.
    pub stalls: u64,
    /// Workers that lost their stream.
    pub streams: u64,
}

const WORKERS: usize = 0;
const TEMPLATES: usize = 1;
const STALLS: usize = 2;
const STREAMS: usize = 3;

impl Chaos {
    /// Of this pool; it does not keep the pool from ending.
    pub fn new<A, R, E>(pool: &Pool<A, R, E>) -> Chaos {
        Chaos {
            pool: pool.inmates(),
            seed: 0,
            every: Duration::from_millis(10),
            parts: [1, 0, 0, 0],
            stall: Duration::ZERO,
        }
    }

    /// What is done, and when, follows from this number; 0 unless said otherwise. (To whom
    /// depends on who is there by then.)
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The mean time between two faults.
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// Of all faults, so many parts are workers that are killed; 1 unless said otherwise.
    pub fn kill_workers(mut self, parts: u32) -> Self {
        self.parts[WORKERS] = parts;
        self
    }

    /// So many parts are templates that are killed; none unless said otherwise. See
    /// [`kill_template`](super::kill_template) for who dies with one.
    pub fn kill_templates(mut self, parts: u32) -> Self {
        self.parts[TEMPLATES] = parts;
        self
    }

    /// So many parts are workers that are stopped for so long; none unless said otherwise.
    pub fn stall_workers(mut self, parts: u32, time: Duration) -> Self {
        self.parts[STALLS] = parts;
        self.stall = time;
        self
    }

    /// So many parts are workers that lose their stream; none unless said otherwise. See
    /// [`drop_fd`](super::drop_fd).
    pub fn drop_fds(mut self, parts: u32) -> Self {
        self.parts[STREAMS] = parts;
        self
    }

    /// Begins.
    ///
    /// # Errors
    /// The system's, if there cannot be another thread.
    pub fn start(self) -> Result<Running, Error> {
        let harm = Arc::new(Mutex::new(Harm::default()));
        let (stop, stopped) = channel::<()>();
        let counted = Arc::clone(&harm);
        let work = move || {
            let mut random = Random(self.seed);
            loop {
                let pause = 2.0 * random.part() * self.every.as_secs_f64();
                match pass(&stopped, Duration::try_from_secs_f64(pause).unwrap_or(Duration::MAX)) {
                    true => self.do_harm(&mut random, &counted, &stopped),
                    false => return,
                }
            }
        };
        let thread = thread::Builder::new().name("offshoot-chaos".to_owned()).spawn(work);
        let thread = thread.map_err(Error::system("starting a thread"))?;
        Ok(Running { harm, work: Some((stop, thread)) })
    }

    fn do_harm(&self, random: &mut Random, harm: &Mutex<Harm>, stopped: &Receiver<()>) {
        let all: u64 = self.parts.iter().map(|parts| u64::from(*parts)).sum();
        let mut which = random.below(all.max(1));
        let fault = self.parts.iter().position(|parts| {
            let found = which < u64::from(*parts);
            which = which.saturating_sub((*parts).into());
            found
        });
        // Also where it is not used, so that the rest does not depend on who is there.
        let whom = random.number();
        let Some(fault) = fault else { return };
        // Whoever is to be harmed may be gone by then.
        let done = if fault == TEMPLATES {
            self.pool.template().is_some_and(|t| Held::template(&t).and_then(|h| h.kill()).is_ok())
        } else {
            self.harm_worker(fault, whom, stopped)
        };
        let mut harm = harm.lock().unwrap_or_else(PoisonError::into_inner);
        *match fault {
            WORKERS => &mut harm.workers,
            TEMPLATES => &mut harm.templates,
            STALLS => &mut harm.stalls,
            _ => &mut harm.streams,
        } += u64::from(done);
    }

    fn harm_worker(&self, fault: usize, whom: u64, stopped: &Receiver<()>) -> bool {
        let workers = self.pool.workers();
        let Some(at) = whom.checked_rem(workers.len() as u64) else { return false };
        let worker = &workers[at as usize];
        match fault {
            WORKERS => worker.child.signal(libc::SIGKILL).is_ok(),
            STALLS => {
                let stalled = Held::worker(worker).and_then(Held::stall);
                if stalled.is_ok() {
                    pass(stopped, self.stall);
                }
                stalled.is_ok()
            }
            _ => cut(worker).is_ok(),
        }
    }
}

/// Lets time pass; false if all is to stop.
fn pass(stopped: &Receiver<()>, time: Duration) -> bool {
    matches!(stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout))
}

impl std::fmt::Debug for Chaos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chaos").field("seed", &self.seed).field("every", &self.every).finish()
    }
}

/// Harm that is being done, until this is dropped.
#[must_use = "it stops when this is dropped"]
pub struct Running {
    harm: Arc<Mutex<Harm>>,
    work: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Running {
    /// What was done so far.
    pub fn harm(&self) -> Harm {
        *self.harm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops, and waits until it has; what was done.
    pub fn stop(mut self) -> Harm {
        self.end();
        self.harm()
    }

    fn end(&mut self) {
        if let Some((stop, thread)) = self.work.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("harm", &self.harm()).finish()
    }
}

/// Pseudo-random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.number() as f64 / u64::MAX as f64
    }
}
