//! Before `main`: the constructor's work.
//!
//! ```text
//! not in the main executable ─▶ nothing
//! marker in the environment  ─▶ we are a re-executed template: serve, or fail closed
//! opted in, one thread       ─▶ fork the early template; both go on
//! else                       ─▶ note what the program was started with
//! ```
//! A template of a program with `#[offshoot::main]` goes on through start-up and is
//! caught at the top of `main` (`at_main`); any other serves right here.

use std::os::fd::{IntoRawFd, OwnedFd};
use std::process::exit;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::owner::Owner;
use crate::sys::fork::{self, Forked};
use crate::sys::{fdpass, fds, image, init, origin, signal, stack, title};
use crate::template::Template;
use marker::{MARKER, marked_socket};
pub(crate) use marker::{check_reexecutable, reexecute};

mod marker;

/// How a program opts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptIn {
    /// `#[offshoot::main]`.
    Main,
    /// `offshoot::early!()`.
    Early,
}

impl OptIn {
    /// `#[offshoot::main]` in the module of this path. Only in the crate's root it is on the
    /// program's `main`. Elsewhere, as in doc tests, many of which are one program, a
    /// template would never be caught, and run the program a second time.
    pub const fn of_main(module: &str) -> Option<OptIn> {
        let path = module.as_bytes();
        let mut at = 0;
        while at < path.len() {
            if path[at] == b':' {
                return None;
            }
            at += 1;
        }
        Some(OptIn::Main)
    }
}

/// The markers that the program's opt-in puts here; empty without.
#[linkme::distributed_slice]
pub static OFFSHOOT_0_OPT_IN: [Option<OptIn>];

/// What the hook saw and did, for `doctor`.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) opt_in: Option<OptIn>,
    pub(crate) threads: usize,
    /// Why there is no early template although the program opted in.
    pub(crate) declined: Option<&'static str>,
}

/// How many there were when the hook ran; 0 if it has not come to its end.
static THREADS: AtomicUsize = AtomicUsize::new(0);
static DECLINED: OnceLock<String> = OnceLock::new();
static EARLY: OnceLock<Early> = OnceLock::new();
static CAUGHT_AT_MAIN: Mutex<Option<Template>> = Mutex::new(None);

/// Without a lock: it would be held for ever in a fork of the program that is made meanwhile.
struct Early {
    /// Its number; -1 once it has been taken.
    socket: AtomicI32,
    owner: Owner,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

fn log(text: impl std::fmt::Display) {
    if std::env::var_os("OFFSHOOT_LOG").is_some_and(|v| v == "1") && !image::secure() {
        // In one piece: parent and template may both be writing.
        let line = format!("offshoot[{}]: {text}\n", std::process::id());
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
}

fn die(text: impl std::fmt::Display) -> ! {
    eprintln!("offshoot: {text}");
    exit(70) // EX_SOFTWARE
}

/// Called once, by the constructor, of which it is to be a part: what a program without
/// opt-in goes through lies in one piece.
#[inline]
pub(crate) fn before_main() {
    if !image::in_main_executable() {
        return;
    }
    title::note_start();
    if let Some(name) = crate::entry::duplicate() {
        refuse_duplicate(name);
    }
    if title::start_strings().has_variable(MARKER)
        && let Some(socket) = marked_socket()
    {
        serve_reexecuted(socket);
        return;
    }
    origin::note();
    let threads = fork::threads();
    if let Some(opt_in) = opt_in()
        && become_template(opt_in, threads)
    {
        return;
    }
    origin::note_executable();
    THREADS.store(threads, Ordering::Release);
}

#[cold]
fn refuse_duplicate(name: &str) -> ! {
    die(format_args!(
        "two functions are registered as `{name}`: give one of them another name with `name = \"…\"`"
    ))
}

fn opt_in() -> Option<OptIn> {
    OFFSHOOT_0_OPT_IN.iter().copied().flatten().max_by_key(|o| *o == OptIn::Main)
}

/// Forks the early template. Whether this is that by now, on its way to main: it is to
/// hold nothing else.
#[cold]
fn become_template(opt_in: OptIn, threads: usize) -> bool {
    if let Err(why) = fork_early(opt_in, threads) {
        log(format_args!("no early template, processes will come from a re-executed one: {why}"));
        let _ = DECLINED.set(why);
    }
    lock(&CAUGHT_AT_MAIN).is_some()
}

fn fork_early(opt_in: OptIn, threads: usize) -> Result<(), String> {
    if std::env::var_os("OFFSHOOT_EARLY").is_some_and(|v| v == "0") && !image::secure() {
        return Err("OFFSHOOT_EARLY=0 is set".to_owned());
    }
    if threads != 1 {
        return Err(format!("{threads} threads are running before main already"));
    }
    let (near, far) = fdpass::template_pair().map_err(|e| e.to_string())?;
    let pid = std::process::id();
    fork::flush_stdio();
    match fork::fork_orphan().map_err(|e| format!("fork: {e}"))? {
        Forked::Parent(_) => {
            // Made now, the template does not have it: one mapping less in all that it forks.
            let owner = Owner::new().map_err(|e| format!("mapping a page: {e}"))?;
            log(format_args!("early template forked ({opt_in:?})"));
            let _ = EARLY.set(Early { socket: near.into_raw_fd().into(), owner });
        }
        Forked::Child => {
            drop(near);
            begin(far, opt_in == OptIn::Main, pid);
        }
    }
    Ok(())
}

/// Becomes a template, now or at the top of `main`.
fn begin(control: OwnedFd, at_main: bool, owner: u32) {
    fds::reopen_stdio();
    fds::close_all_but(&control);
    let template = Template::new(control, &format!("{}[{owner}]", program()));
    if at_main {
        *lock(&CAUGHT_AT_MAIN) = Some(template);
        return;
    }
    // What start-up would have done, had it run (TRAPS: serving in the hook).
    stack::watch();
    init::run_rest();
    log("template serves from the hook");
    template.serve()
}

fn program() -> String {
    let args = title::start_strings().args();
    let name = args.first().map_or(String::new(), |a| a.to_string_lossy().into_owned());
    name.rsplit('/').next().unwrap_or_default().to_owned()
}

/// At the top of `main`: a template stays here for good.
pub fn at_main() {
    // Taken out first: what it forks must not have the lock, and may come here again.
    let caught = lock(&CAUGHT_AT_MAIN).take();
    if let Some(template) = caught {
        log("template caught at the top of main");
        template.serve()
    }
}

#[cold]
fn serve_reexecuted(socket: OwnedFd) {
    let owner = nix::unistd::getppid().as_raw() as u32;
    let at_main = opt_in() == Some(OptIn::Main);
    begin(socket, at_main, owner);
}

/// Whose the early template is, if that can be this process, and nobody has taken it yet. It
/// is not taken by asking: any number of threads may.
pub(crate) fn early_owner() -> Option<&'static Owner> {
    let early = EARLY.get().filter(|_| early_waits())?;
    early.owner.claim(Duration::ZERO).is_ok().then_some(&early.owner)
}

/// Hands out the early template, once. For who has its owner.
pub(crate) fn take_early() -> Option<OwnedFd> {
    fds::adopt(EARLY.get()?.socket.swap(-1, Ordering::AcqRel))
}

/// An error where this library cannot work at all.
pub(crate) fn check_usable() -> Result<(), Error> {
    if image::in_main_executable() {
        return Ok(());
    }
    Err(Kind::Unsupported("offshoot is linked into a shared library here, not into the program: the file to execute is somebody else's, so no process can be made").into())
}

pub(crate) fn report() -> Option<Report> {
    let threads = THREADS.load(Ordering::Acquire);
    let declined = DECLINED.get().map(String::as_str);
    (threads > 0).then(|| Report { opt_in: opt_in(), threads, declined })
}

/// Whether a template was forked early and nobody has taken it yet.
pub(crate) fn early_waits() -> bool {
    EARLY.get().is_some_and(|early| early.socket.load(Ordering::Acquire) >= 0)
}

/// Serves as a copy of the whole program as it is now; in the child of a fork.
pub(crate) fn serve_snapshot(control: OwnedFd, owner: u32) -> ! {
    // First, as it makes room for a descriptor.
    drop(take_early());
    let _ = fds::blank(&crate::home::renounce());
    signal::begin_serving();
    let mut template = Template::new(control, &format!("{}[{owner}]", program()));
    template.user_code = true;
    template.serve()
}
