//! Programs at a terminal, and what signals their processes see.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;

use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use offshoot::{Args, Child, Process, Start};

use super::{Scene, at, template_of, touch, works};

pub(super) const SCENES: &[Scene] =
    &[("draining", draining), ("signals", signals), ("signals_in_setup", signals_in_setup)];

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// A worker that has begun: until then it ignores what its template ignores.
fn up(process: Process) -> Child {
    let child = process.run(up_until_closed).expect("it runs");
    child.stream().read_exact(&mut [0]).expect("it says so");
    child
}

#[offshoot::entry]
fn up_until_closed(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(b"!")?;
    start.stream.read_to_end(&mut Vec::new()).map(|_| ())
}

/// Takes the signal itself and goes on. A worker in a group of its own is not reached
/// by it; one in ours dies of it; the templates live.
fn draining(args: &[String]) {
    let number: i32 = args[0].parse().expect("a signal");
    let mut awaited = SigSet::empty();
    awaited.add(Signal::try_from(number).expect("a signal"));
    let sheltered = up(new().process_group(0));
    let template = new().setup(touch, [""; 0]);
    let of_template = up(template.fork().expect("it can be forked"));
    let executed = Process::new_exec().expect("it is made");
    let child = up(new());
    let before = [template_of(&child), template_of(&of_template)];
    // No thread has been started, so none is left that does not block it.
    awaited.thread_block().expect("it can be blocked");
    at("draining");
    awaited.wait().expect("it comes");
    for child in [&child, &of_template] {
        assert_eq!(child.wait().expect("its status is told").signal(), Some(number));
    }
    let (child, forked) = (up(new()), up(template.fork().expect("it can be forked")));
    let after = [template_of(&child), template_of(&forked)];
    assert_eq!(after.map(|t| t.pid()), before.map(|t| t.pid()), "the templates survive");
    works(template.fork().expect("it can be forked"));
    works(executed);
    assert!(sheltered.try_wait().expect("it can be asked").is_none());
    sheltered.stream().shutdown(std::net::Shutdown::Write).expect("it is open");
    assert!(sheltered.wait().expect("its status is told").success());
    println!("drained");
}

/// All signals that are not at their default, and all that are blocked.
#[allow(unsafe_code)]
fn seen() -> String {
    // SAFETY: plain data, filled by the calls; numbers that the C library keeps for
    // itself are refused and left out.
    unsafe {
        let mut text = String::new();
        for number in 1..=64 {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(number, std::ptr::null(), &mut action) == 0 {
                match action.sa_sigaction {
                    libc::SIG_DFL => {}
                    libc::SIG_IGN => text += &format!(" {number}:ignored"),
                    _ => text += &format!(" {number}:handled"),
                }
            }
        }
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, std::ptr::null(), &mut mask);
        for number in 1..=64 {
            if libc::sigismember(&mask, number) == 1 {
                text += &format!(" {number}:blocked");
            }
        }
        text
    }
}

#[offshoot::entry]
fn says_seen(_start: Start) {
    println!("seen{}", seen());
}

/// What entries see: of the default template, of one with a setup function that has
/// meddled, of a re-executed one.
fn signals(_: &[String]) {
    let template = new().setup(meddles, [""; 0]);
    let executed = Process::new_exec().expect("it is made");
    for process in [Ok(new()), template.fork(), executed.fork()] {
        let child = process.and_then(|p| p.run(says_seen)).expect("it runs");
        assert!(child.wait().expect("its status is told").success());
    }
    let status = template.exec(["/bin/cat", "/proc/self/status"]).expect("it runs").wait();
    assert!(status.expect("its status is told").success());
}

extern "C" fn handles(_: libc::c_int) {}

#[offshoot::setup]
#[allow(unsafe_code)]
fn meddles(_args: Args) {
    for number in (1..=64).filter(|n| ![libc::SIGSEGV, libc::SIGBUS].contains(n)) {
        let handler = match number % 2 {
            0 => libc::SIG_IGN,
            _ => handles as *const () as libc::sighandler_t,
        };
        // SAFETY: the handler does nothing; what cannot be handled is refused.
        unsafe { libc::signal(number, handler) };
    }
    SigSet::all().thread_block().expect("they can be blocked");
}

#[offshoot::setup]
fn says_seen_in_setup(_args: Args) {
    println!("seen{}", seen());
    let status = std::process::Command::new("/bin/true").status();
    assert!(status.expect("setup functions can wait for programs").success());
}

fn signals_in_setup(_: &[String]) {
    works(new().setup(says_seen_in_setup, [""; 0]));
}
