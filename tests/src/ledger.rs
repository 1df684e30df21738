//! What really ran: workers note each job before they do it, in a file that outlives
//! them, and what callers were told has to fit that.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;

use offshoot::{Error, Process, RunArgs, Setup};

/// A file that workers write to.
pub struct Ledger(File);

/// For a worker's init function: the file that came with its template.
pub fn open(queued: RunArgs) -> File {
    File::from(queued.fds.into_iter().next().expect("a file was sent"))
}

/// Notes that a job is begun. The kernel writes so little in one piece, whatever happens
/// to the process.
pub fn note(mut file: &File, job: u32) {
    file.write_all(&job.to_le_bytes()).expect("a file can be written to");
}

impl Ledger {
    /// An empty one.
    pub fn new() -> Ledger {
        Ledger(tempfile::tempfile().expect("there is room"))
    }

    /// A template that hands it to workers, and is a process of its own because of `setup`.
    pub fn template(&self, setup: Setup<()>) -> Process {
        Process::new().expect("it is usable").setup(setup, [""; 0]).send_fd(&self.0)
    }

    /// The file, for other templates.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// How often each of the first `jobs` jobs was begun.
    pub fn counts(&self, jobs: usize) -> Vec<u32> {
        let mut bytes = Vec::new();
        (&self.0).seek(SeekFrom::Start(0)).expect("a file can be read from its start");
        (&self.0).read_to_end(&mut bytes).expect("a file can be read");
        assert_eq!(bytes.len() % 4, 0, "notes are whole");
        let mut counts = vec![0; jobs];
        for note in bytes.chunks_exact(4) {
            let job = u32::from_le_bytes(note.try_into().expect("four bytes"));
            counts[job as usize] += 1;
        }
        counts
    }
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger::new()
    }
}

/// How a job may have ended, beside well.
pub struct Terms {
    /// It may have been begun so often.
    pub runs: u32,
    /// Its process may end with this status.
    pub exits: Option<i32>,
    /// It is another job that ends it so.
    pub of_another: bool,
    /// Nobody may know how its process ended, as the template died too.
    pub status_lost: bool,
}

/// Fails unless what was told of a job fits how often it was begun.
pub fn check<R>(job: usize, told: &Result<R, Error>, begun: u32, terms: &Terms) {
    assert!(begun <= terms.runs, "job {job} was begun {begun} times");
    let error = match told {
        Ok(_) => return assert!(begun > 0, "job {job} is said to be done, and never was begun"),
        Err(error) => error,
    };
    assert!(error.is_disconnected(), "job {job}: {error}");
    match error.was_started() {
        // Of the first one that was not answered it cannot be said for certain.
        Some(true) => {}
        Some(false) => assert_eq!(begun, 0, "job {job} was begun: {error}"),
        None => panic!("job {job}: it is not said if it was started: {error}"),
    }
    let Some(status) = error.exit_status() else {
        return assert!(terms.status_lost, "job {job}: how did its worker end? {error}");
    };
    let killed = status.signal() == Some(libc::SIGKILL);
    let exited = terms.exits.is_some() && status.code() == terms.exits;
    assert!(killed || (exited && (begun > 0 || terms.of_another)), "job {job}: {error}");
}
