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

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::exit;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use crate::error::{Error, Kind};
use crate::sys::fork::{self, Forked};
use crate::sys::reexec::{self, Image};
use crate::sys::{fdpass, fds, image, init, origin, pidfd, shared, signal, stack, title};
use crate::template::Template;

/// Names the socket of a re-executed template, and the build that it must be.
const MARKER: &str = "OFFSHOOT_TEMPLATE";

/// How long the maker of a marker, if it is not our parent any more, may take to end.
const MAKER_ENDS: std::time::Duration = std::time::Duration::from_millis(250);

/// How a program opts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptIn {
    /// `#[offshoot::main]`.
    Main,
    /// `offshoot::early!()`.
    Early,
}

/// The markers that the program's opt-in puts here; empty without.
#[linkme::distributed_slice]
pub static OFFSHOOT_0_OPT_IN: [OptIn];

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
static EARLY: Mutex<Option<Early>> = Mutex::new(None);
static CAUGHT_AT_MAIN: Mutex<Option<Template>> = Mutex::new(None);

struct Early {
    socket: OwnedFd,
    owner: &'static AtomicI32,
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
    OFFSHOOT_0_OPT_IN.iter().copied().max_by_key(|o| *o == OptIn::Main)
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
    if std::env::var_os("OFFSHOOT_EARLY").is_some_and(|v| v == "0") {
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
            let owner = shared::shared_number().map_err(|e| format!("mapping a page: {e}"))?;
            owner.store(pid as i32, Ordering::Release);
            log(format_args!("early template forked ({opt_in:?})"));
            *lock(&EARLY) = Some(Early { socket: near, owner });
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
    if let Some(template) = lock(&CAUGHT_AT_MAIN).take() {
        log("template caught at the top of main");
        template.serve()
    }
}

/// The socket that the marker names, if that may be obeyed. One that is wrong ends the
/// process: going on would run `main` a second time.
#[cold]
fn marked_socket() -> Option<OwnedFd> {
    let marker = std::env::var_os(MARKER)?;
    let key = CString::new(MARKER).expect("it has no NUL");
    let _ = crate::sys::settings::set_env(&key, None);
    if image::secure() {
        // Whoever started this has fewer privileges than it: not to be obeyed.
        return None;
    }
    match check_marker(&marker.to_string_lossy()) {
        Ok(socket) => Some(socket),
        Err(why) => die(format_args!(
            "{MARKER} is set, but {why}; this variable is only for programs that execute themselves: unset it"
        )),
    }
}

fn check_marker(marker: &str) -> Result<OwnedFd, &'static str> {
    let (fd, build) = marker.split_once(':').ok_or("is not of the form FD:BUILD")?;
    let raw = fd.parse().map_err(|_| "names no descriptor")?;
    if build != format!("{:016x}", image::fingerprint()) {
        return Err("was made by another build of this program");
    }
    let socket = fds::adopt(raw).ok_or("its descriptor is not open")?;
    let peer = fdpass::control_peer(&socket).map_err(|_| "its descriptor is not such a socket")?;
    // A program that becomes a daemon right after making us has ended by now, and is
    // nobody's parent any more.
    if peer.pid != nix::unistd::getppid().as_raw() && !pidfd::gone(peer.pid, MAKER_ENDS) {
        return Err("its socket was not made by our parent");
    }
    if peer.uid != nix::unistd::getuid().as_raw() && peer.uid != nix::unistd::geteuid().as_raw() {
        return Err("its socket was made by another user");
    }
    fds::set_close_on_exec(&socket).map_err(|_| "its descriptor is not open")?;
    Ok(socket)
}

#[cold]
fn serve_reexecuted(socket: OwnedFd) {
    let owner = nix::unistd::getppid().as_raw() as u32;
    let at_main = OFFSHOOT_0_OPT_IN.contains(&OptIn::Main);
    begin(socket, at_main, owner);
}

/// Hands out the early template, once, to the first who asks in the process that
/// owns it.
pub(crate) fn take_early(me: i32) -> Option<(OwnedFd, &'static AtomicI32)> {
    let mut early = lock(&EARLY);
    let owner = early.as_ref()?.owner;
    let theirs = owner.load(Ordering::Acquire);
    let mine = theirs == me
        || (pidfd::gone(theirs, std::time::Duration::ZERO)
            && owner.compare_exchange(theirs, me, Ordering::AcqRel, Ordering::Acquire).is_ok());
    if !mine {
        return None;
    }
    early.take().map(|e| (e.socket, e.owner))
}

/// Makes a template by executing this program's own file, with `socket` as its
/// control socket and everything else as the program was started with.
pub(crate) fn reexecute(socket: &OwnedFd) -> Result<i32, Error> {
    check_reexecutable()?;
    let origin = origin::get();
    let executable =
        origin::executable().map_err(Error::system("finding the program's own file"))?;
    let strings = title::start_strings();
    let args = strings.args();
    let marker = format!("{MARKER}={}:{:016x}", socket.as_raw_fd(), image::fingerprint());
    let mut environment = strings.environment();
    environment.retain(|v| !v.as_bytes().starts_with(b"OFFSHOOT_TEMPLATE="));
    environment.push(CString::new(marker).expect("it has no NUL"));
    let image = Image {
        executable,
        socket: socket.as_fd(),
        args: &args,
        environment: &environment,
        directory: origin.and_then(|o| o.directory()),
        umask: origin.map(|o| o.umask),
        limits: origin.map_or(&[], |o| &o.limits),
        no_new_privileges: image::has_set_id(executable),
    };
    reexec::spawn(&image).map_err(Error::system("executing the program's own file"))
}

/// An error where this library cannot work at all.
pub(crate) fn check_usable() -> Result<(), Error> {
    if image::in_main_executable() {
        return Ok(());
    }
    Err(Kind::Unsupported("offshoot is linked into a shared library here, not into the program: the file to execute is somebody else's, so no process can be made").into())
}

/// An error where the program cannot be made a template by executing it: with
/// privileges that it gets by that it would ignore the marker, and run `main`.
pub(crate) fn check_reexecutable() -> Result<(), Error> {
    check_usable()?;
    let gets_capabilities = || {
        !nix::unistd::getuid().is_root() && origin::executable().is_ok_and(image::has_capabilities)
    };
    if image::secure() || gets_capabilities() {
        return Err(Kind::Unsupported("the program's file gives it privileges (set-user-ID, or capabilities), so it cannot execute itself: processes need an early template here, by #[offshoot::main]").into());
    }
    Ok(())
}

pub(crate) fn report() -> Option<Report> {
    let threads = THREADS.load(Ordering::Acquire);
    let declined = DECLINED.get().map(String::as_str);
    (threads > 0).then(|| Report { opt_in: opt_in(), threads, declined })
}

/// Whether a template was forked early and nobody has taken it yet.
pub(crate) fn early_waits() -> bool {
    lock(&EARLY).is_some()
}

/// Serves as a copy of the whole program as it is now; in the child of a fork.
pub(crate) fn serve_snapshot(control: OwnedFd, owner: u32) -> ! {
    let _ = fds::blank(&crate::home::sockets());
    *lock(&EARLY) = None;
    signal::begin_serving();
    let mut template = Template::new(control, &format!("{}[{owner}]", program()));
    template.user_code = true;
    template.serve()
}
