//! Faults, to order: for programs that want to see what they do when a worker, or what
//! workers are forked from, dies or hangs. (Feature `testing`.)
//!
//! A program that uses processes has to live with their deaths, and seldom sees one before
//! it counts. Here a test brings them about, of one process or of many at random:
//!
//! ```no_run
//! use std::time::Duration;
//! use offshoot::testing::Chaos;
//! use offshoot::Pool;
//!
//! #[offshoot::worker]
//! fn double(n: u64) -> u64 {
//!     2 * n
//! }
//!
//! #[offshoot::main]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = Pool::builder(double).build()?;
//!     let chaos = Chaos::new(&pool).seed(7).every(Duration::from_millis(5)).start()?;
//!     for n in 0..10_000 {
//!         // What may run twice is made again by itself; all else has to be decided here.
//!         assert_eq!(pool.request(n).idempotent().call().wait()?, 2 * n);
//!     }
//!     println!("{:?}, and nobody noticed", chaos.stop());
//!     Ok(())
//! }
//! ```
//!
//! Signals reach only processes of this program: they are sent by the template, which
//! alone knows that a process id still is that of its child, or by a descriptor of the
//! process (Linux 5.3) that was opened while that was certain. None of this is needed, or
//! meant, for anything but tests.

mod chaos;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

pub use chaos::{Chaos, Harm, Running};

use crate::error::{Error, Kind};
use crate::pool::Pool;
use crate::process::Process;
use crate::rpc::Rpc;
use crate::rpc::pooled::Conn;
use crate::sys::pidfd;

mod sealed {
    use std::sync::Arc;

    use crate::process::Process;
    use crate::rpc::pooled::Conn;

    /// Has `look` look at the process that others are forked from.
    pub trait Forked {
        fn with_template<T>(&self, look: impl FnOnce(&Process) -> T) -> T;
    }

    pub trait Manned {
        #[expect(private_interfaces, reason = "nobody else can name this trait")]
        fn conns(&self) -> Vec<Arc<Conn>>;
    }
}

/// What is forked from a template: a [`Pool`], or a [`Process`] that is kept to be forked.
pub trait FromTemplate: sealed::Forked {}

/// What has workers: a [`Pool`], or an [`Rpc`], which has one.
pub trait HasWorkers: sealed::Manned {}

impl<A, R, E> FromTemplate for Pool<A, R, E> {}
impl FromTemplate for Process {}
impl<A, R, E> HasWorkers for Pool<A, R, E> {}
impl<A, R, E> HasWorkers for Rpc<A, R, E> {}

impl<A, R, E> sealed::Forked for Pool<A, R, E> {
    fn with_template<T>(&self, look: impl FnOnce(&Process) -> T) -> T {
        let template = self.inmates().template();
        look(&template.expect("the pool is there, as it is borrowed"))
    }
}

impl sealed::Forked for Process {
    fn with_template<T>(&self, look: impl FnOnce(&Process) -> T) -> T {
        look(self)
    }
}

#[expect(private_interfaces, reason = "nobody else can name this trait")]
impl<A, R, E> sealed::Manned for Pool<A, R, E> {
    fn conns(&self) -> Vec<Arc<Conn>> {
        self.inmates().workers()
    }
}

#[expect(private_interfaces, reason = "nobody else can name this trait")]
impl<A, R, E> sealed::Manned for Rpc<A, R, E> {
    fn conns(&self) -> Vec<Arc<Conn>> {
        vec![Arc::clone(self.conn())]
    }
}

/// Kills what others are forked from now, and with it all processes that it has forked;
/// returns its process id once it is gone.
///
/// A template without setup functions of its own is the program's: then everything that
/// the program has forked dies.
///
/// # Errors
/// As [`Process::fork`]; where it cannot be known which process it is: ENOSYS without
/// process descriptors.
pub fn kill_template(of: &impl FromTemplate) -> Result<u32, Error> {
    let template = of.with_template(Held::template)?;
    template.kill()?;
    Ok(template.pid)
}

/// Stops what others are forked from, until the guard is dropped: processes that there are
/// go on, and new ones are made late.
///
/// Meanwhile everything waits that asks the template: process ids that are not known yet,
/// signals, and how a process has ended.
///
/// # Errors
/// As [`kill_template`].
pub fn stall_template(of: &impl FromTemplate) -> Result<Stalled, Error> {
    of.with_template(Held::template)?.stall()
}

/// Kills a worker.
///
/// # Errors
/// [`is_ended`](Error::is_ended) if there is no such worker, or there is no more.
pub fn kill_worker(of: &impl HasWorkers, pid: u32) -> Result<(), Error> {
    find(of, pid)?.child.signal(libc::SIGKILL)
}

/// Stops a worker in whatever it does, until the guard is dropped: it lives, keeps what it
/// has, and does not answer.
///
/// # Errors
/// As [`kill_worker`]; ENOSYS without process descriptors.
pub fn stall_worker(of: &impl HasWorkers, pid: u32) -> Result<Stalled, Error> {
    Held::worker(&*find(of, pid)?)?.stall()
}

/// Ends a worker's stream, as if it had closed its descriptor and stayed. What it has said
/// before still arrives. It begins nothing more: it is stopped first.
///
/// # Errors
/// As [`stall_worker`].
pub fn drop_fd(of: &impl HasWorkers, pid: u32) -> Result<(), Error> {
    cut(&*find(of, pid)?)
}

fn find(of: &impl HasWorkers, pid: u32) -> Result<Arc<Conn>, Error> {
    let mut conns = of.conns().into_iter();
    conns.find(|conn| conn.child.id().is_ok_and(|id| id == pid)).ok_or(Kind::Ended.into())
}

fn cut(conn: &Conn) -> Result<(), Error> {
    // It is not continued: the library kills it, as any that goes on without its stream.
    Held::worker(conn)?.stop()?;
    conn.cut_stream().map_err(Error::system("shutting a stream down"))
}

/// A process of which it is certain who it is.
struct Held {
    pid: u32,
    fd: OwnedFd,
}

impl Held {
    fn template(of: &Process) -> Result<Held, Error> {
        let sibling = of.sibling()?;
        let pid = parent_of(sibling.id()?)?;
        let fd = pidfd::open(pid as i32).map_err(Error::system("opening a process descriptor"))?;
        // The template answers: so it has been the sibling's parent all the time, and its
        // number was nobody else's.
        sibling.signal(0)?;
        Ok(Held { pid, fd })
    }

    fn worker(conn: &Conn) -> Result<Held, Error> {
        Ok(Held { pid: conn.child.id()?, fd: conn.child.pidfd()? })
    }

    fn signal(&self, number: i32) -> Result<(), Error> {
        pidfd::signal(&self.fd, number).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => Kind::Ended.into(),
            _ => Error::system("sending a signal")(error),
        })
    }

    /// Kills it, and waits until it is gone.
    fn kill(&self) -> Result<(), Error> {
        self.signal(libc::SIGKILL)?;
        pidfd::wait_gone(&self.fd);
        Ok(())
    }

    /// Stops it, and waits until none of its threads runs.
    fn stop(&self) -> Result<(), Error> {
        self.signal(libc::SIGSTOP)?;
        // That a process has stopped is told to its parent alone.
        while is_running(self.pid) {
            self.signal(0)?;
            thread::yield_now();
        }
        Ok(())
    }

    fn stall(self) -> Result<Stalled, Error> {
        let stalled = Stalled { held: self };
        stalled.held.stop()?;
        Ok(stalled)
    }
}

/// A process that is stopped; it goes on when this is dropped.
#[must_use = "the process goes on when this is dropped"]
pub struct Stalled {
    held: Held,
}

impl Stalled {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.held.pid
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = self.held.signal(libc::SIGCONT);
    }
}

impl std::fmt::Debug for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stalled").field("pid", &self.held.pid).finish()
    }
}

/// What stands behind the name in a `stat` file of proc(5).
fn stat_fields(path: &str) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(path).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn parent_of(pid: u32) -> Result<u32, Error> {
    let parent = stat_fields(&format!("/proc/{pid}/stat")).and_then(|f| f.get(1)?.parse().ok());
    parent.ok_or(Kind::Unsupported("without /proc it is not known what forks processes").into())
}

fn is_running(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let mut paths = threads.filter_map(|t| Some(t.ok()?.path().join("stat").display().to_string()));
    paths.any(|path| stat_fields(&path).is_some_and(|f| !matches!(&*f[0], "T" | "t" | "Z" | "X")))
}
