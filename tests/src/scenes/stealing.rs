//! Programs that reap whatever they can.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::wait;
use offshoot::{Process, Start};

use super::{Scene, touch, until_closed, works};

pub(super) const SCENES: &[Scene] = &[
    ("wait_loop", wait_loop),
    ("wait_once", wait_once),
    ("ignores", ignores),
    ("handler", handler),
    ("started_ignoring", |_| statuses()),
];

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// Exits with the status that it is sent, or dies of the signal.
#[offshoot::entry]
fn ends_so(start: Start) {
    let number: i32 = String::from_utf8_lossy(&start.args[0]).parse().expect("a number");
    if number < 0 {
        let _ = nix::sys::signal::raise(Signal::try_from(-number).expect("a signal"));
    }
    std::process::exit(number);
}

/// Many processes, from templates of all kinds, each with a status of its own.
fn statuses() {
    let template = new().setup(touch, [""; 0]);
    let executed = Process::new_exec().expect("it is made");
    let wanted: Vec<i32> = (0..30).chain([-9, -15, -10]).collect();
    let children: Vec<_> = wanted
        .iter()
        .flat_map(|number| {
            let forks = [template.fork(), executed.fork(), Ok(new())];
            forks.map(|p| {
                let process = p.expect("it can be forked").send_arg(number.to_string());
                (*number, process.run(ends_so).expect("it runs"))
            })
        })
        .collect();
    for (number, child) in children {
        let status = child.wait().expect("no status is lost");
        let seen = status.code().or(status.signal().map(|s| -s));
        assert_eq!(seen, Some(number));
        child.usage().expect("nor what it used");
    }
    drop((template, executed));
    works(new());
}

/// A thread that reaps until there is nothing, again and again.
fn wait_loop(_: &[String]) {
    static DONE: AtomicBool = AtomicBool::new(false);
    let reaper = thread::spawn(|| {
        while !DONE.load(Ordering::Acquire) {
            match wait() {
                Err(Errno::ECHILD) => thread::yield_now(),
                _ => continue,
            }
        }
    });
    statuses();
    DONE.store(true, Ordering::Release);
    if offshoot::doctor().road != offshoot::Road::ReExec {
        reaper.join().expect("it does not panic");
    }
}

/// A loop until ECHILD ends while there are processes, templates and an early template.
fn wait_once(_: &[String]) {
    let child = new().run(until_closed).expect("it runs");
    let template = new().setup(touch, [""; 0]);
    let of_template = template.fork().and_then(|p| p.run(until_closed)).expect("it runs");
    let mut own = std::process::Command::new("/bin/true").spawn().expect("it can be started");
    assert_eq!(wait().expect("there is our own").pid().map(|p| p.as_raw()), Some(own.id() as i32));
    assert_eq!(wait(), Err(Errno::ECHILD));
    assert!(own.wait().is_err(), "its status was taken");
    for child in [child, of_template] {
        child.stream().shutdown(std::net::Shutdown::Write).expect("it is open");
        assert!(child.wait().expect("its status is told").success());
    }
}

#[allow(unsafe_code)]
fn dispose(handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler, if there is one, calls waitpid and counts.
    unsafe { sigaction(Signal::SIGCHLD, &action) }.expect("it can be set");
}

fn ignores(_: &[String]) {
    dispose(SigHandler::SigIgn);
    statuses();
}

static REAPED: AtomicUsize = AtomicUsize::new(0);
/// The last ones.
static PIDS: [AtomicI32; 64] = [const { AtomicI32::new(0) }; 64];

extern "C" fn reap_all(_: libc::c_int) {
    let before = Errno::last_raw();
    let flags = Some(nix::sys::wait::WaitPidFlag::WNOHANG);
    while let Ok(ended) = nix::sys::wait::waitpid(None, flags) {
        let Some(pid) = ended.pid() else { break };
        let count = REAPED.fetch_add(1, Ordering::Relaxed);
        PIDS[count % PIDS.len()].store(pid.as_raw(), Ordering::Relaxed);
    }
    Errno::set_raw(before);
}

fn handler(_: &[String]) {
    dispose(SigHandler::Handler(reap_all));
    statuses();
    // It does work: this one it takes. (A wait that has begun before would be faster.)
    // Not the only one: a template that is a child of ours may be ending.
    let mut own = std::process::Command::new("/bin/true").spawn().expect("it can be started");
    let pid = own.id() as i32;
    while !PIDS.iter().any(|reaped| reaped.load(Ordering::Relaxed) == pid) {
        thread::yield_now();
    }
    assert!(own.wait().is_err());
}
