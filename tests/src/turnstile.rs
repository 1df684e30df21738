//! Jobs that say when they have begun, and go on when they are let: so a test knows what
//! runs, and what does not, without looking at a clock.

use std::cell::RefCell;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;

use offshoot::{Process, RunArgs};

/// The test's side.
pub struct Turnstile {
    begun: PipeReader,
    lets: RefCell<Option<PipeWriter>>,
    ends: [OwnedFd; 2],
}

/// The worker's side; for all workers of a template the same.
pub struct Passage {
    begun: PipeWriter,
    lets: PipeReader,
}

/// For a worker's init function.
pub fn enter(queued: RunArgs) -> Passage {
    let [begun, lets]: [OwnedFd; 2] = queued.fds.try_into().expect("two were sent");
    Passage { begun: begun.into(), lets: lets.into() }
}

impl Passage {
    /// Says that a job has begun, and waits until one is let through.
    pub fn pass(&mut self, job: u32) -> u32 {
        self.begin(job);
        // The end is as good: all are let through.
        let _ = self.lets.read(&mut [0]).expect("a pipe can be read");
        std::process::id()
    }

    /// Says that a job has begun, and does not wait.
    pub fn begin(&mut self, job: u32) -> u32 {
        let pid = std::process::id();
        let [a, b] = [job, pid].map(u32::to_le_bytes);
        // So little is written in one piece.
        self.begun.write_all(&[a, b].concat()).expect("somebody reads");
        pid
    }
}

impl Turnstile {
    /// A closed one.
    pub fn new() -> Turnstile {
        let room = "there is room for a pipe";
        let ((begun, begins), (let_, lets)) = (pipe().expect(room), pipe().expect(room));
        Turnstile { begun, lets: RefCell::new(Some(lets)), ends: [begins.into(), let_.into()] }
    }

    /// A template whose workers' [`enter`] finds it.
    pub fn template(&self) -> Process {
        self.sent_to(Process::new().expect("it is usable"))
    }

    /// The same, of another process.
    pub fn sent_to(&self, process: Process) -> Process {
        self.ends.iter().fold(process, |process, end| process.send_fd(end))
    }

    /// Waits for the next job to begin: its number, and its process.
    pub fn next(&self) -> (u32, u32) {
        let mut note = [0; 8];
        (&self.begun).read_exact(&mut note).expect("a job is to begin");
        let [job, pid] =
            [0, 4].map(|at| u32::from_le_bytes(note[at..at + 4].try_into().expect("four bytes")));
        (job, pid)
    }

    /// The same, of so many: their numbers, sorted, and their processes in that order.
    pub fn next_of(&self, jobs: usize) -> (Vec<u32>, Vec<u32>) {
        let mut begun: Vec<_> = (0..jobs).map(|_| self.next()).collect();
        begun.sort_unstable();
        begun.into_iter().unzip()
    }

    /// Lets so many through: those that have begun, or will.
    pub fn let_through(&self, jobs: usize) {
        let lets = self.lets.borrow();
        let mut lets = lets.as_ref().expect("it is not open yet");
        lets.write_all(&vec![0; jobs]).expect("this end is read too");
    }

    /// Lets all through, from now on.
    pub fn open(&self) {
        *self.lets.borrow_mut() = None;
    }
}

impl Default for Turnstile {
    fn default() -> Turnstile {
        Turnstile::new()
    }
}
