//! Templates of ordinary users, and somebody else who asks them for processes.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::sys::signal::Signal;
use nix::unistd::{getgid, getuid};
use offshoot::{Args, Child, Error, Process, Start};
use offshoot_tests::program::{Watched, at_once};

use super::{Scene, echo, template_of, touch, works};

pub(super) const SCENES: &[Scene] = &[("strangers", strangers), ("beyond_signals", beyond_signals)];

/// Nobody needs to know them by a name.
const USER: u32 = 4711;
const GROUP: u32 = 4712;
const OTHER: u32 = 4713;

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// The template of one user in the hands of others.
fn strangers(_: &[String]) {
    let template = || new().gid(GROUP).uid(USER).setup(touch, [""; 0]).into_fd();
    let as_user = |user, group, entry| {
        let fd = template().expect("it is made");
        let asker = new().gid(group).uid(user).send_fd(&fd);
        let child = asker.run(entry).expect("it runs");
        let mut report = String::new();
        child.stream().read_to_string(&mut report).expect("it is text");
        assert_eq!(report, "done", "{user} {group}");
        assert!(child.wait().expect("its status is told").success());
    };
    as_user(USER, GROUP, is_served);
    as_user(OTHER, GROUP, is_refused);
    as_user(USER, OTHER, is_refused);
    as_user(OTHER, OTHER, is_refused);
}

fn template(start: &mut Start) -> Process {
    let fd: OwnedFd = start.fds.remove(0);
    Process::from_fd(fd).expect("it is a control socket")
}

#[offshoot::entry]
fn is_served(mut start: Start) -> std::io::Result<()> {
    let template = template(&mut start);
    works(template.fork().expect("it can be forked"));
    works(template.setup(touch, [""; 0]));
    start.stream.write_all(b"done")
}

#[offshoot::entry]
fn is_refused(mut start: Start) -> std::io::Result<()> {
    let template = template(&mut start);
    let fork = || template.fork().expect("it can be forked");
    denied(fork().run(echo).and_then(|child| child.wait()));
    denied(fork().send_arg("x").run(echo).and_then(|child| child.wait()));
    denied(fork().exec(["/bin/true"]).and_then(|child| child.wait()));
    denied(fork().setup(touch, [""; 0]).run(echo));
    denied(fork().current_dir("/").run(echo).and_then(|child| child.wait()));
    // Nobody waits for what is to serve; then it is not there.
    let absent = fork().into_fd().and_then(Process::from_fd).expect("it is sent");
    let error = absent.run(echo).and_then(|child| child.wait()).expect_err("nobody serves");
    assert!(error.is_disconnected(), "{error:?}");
    start.stream.write_all(b"done")
}

fn denied<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.expect_err("it is refused");
    assert!(error.is_denied(), "{error:?}");
    let who = format!("a process for user {} and group {}", getuid(), getgid());
    assert!(error.to_string().starts_with(&who), "{error}");
}

/// A process that has become a user whom its template may not send signals.
fn beyond_signals(_: &[String]) {
    let template = new().setup(gives_up_signals, [""; 0]);
    let child = template.fork().expect("it can be forked").uid(OTHER).run(echoes);
    let child = child.expect("it runs");
    answers(&child);
    for refused in [child.signal(0), child.signal(libc::SIGTERM), child.kill()] {
        let error = refused.expect_err("its template may not");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
        assert!(!error.is_ended(), "{error}");
    }
    assert_eq!(child.try_wait().expect("its status can be told"), None);
    // Other children are not beyond it.
    let other = template.fork().and_then(|p| p.run(echoes)).expect("it runs");
    answers(&other);
    other.kill().expect("its template may");
    assert!(!other.wait().expect("its status is told").success());
    // Nor is the signal delivered that says that the template has died.
    let [of_it, worker] = [template_of(&child), Watched::new(child.id().expect("it is known"))];
    of_it.signal(Signal::SIGKILL);
    assert!(of_it.gone_within(at_once()));
    answers(&child);
    drop(child);
    assert!(worker.gone_within(at_once()), "it ends by itself");
}

fn answers(child: &Child) {
    child.stream().write_all(b"x").expect("it listens");
    child.stream().read_exact(&mut [0]).expect("it answers");
}

/// Gives back what it is sent, until its stream ends.
#[offshoot::entry]
fn echoes(start: Start) -> std::io::Result<()> {
    let mut byte = [0];
    while (&start.stream).read(&mut byte)? > 0 {
        (&start.stream).write_all(&byte)?;
    }
    Ok(())
}

/// Root without CAP_KILL is as anybody else in this.
#[offshoot::setup]
#[allow(unsafe_code)]
fn gives_up_signals(_: Args) -> std::io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_KILL: u32 = 5;
    let mut header = [VERSION_3, 0];
    // Effective, permitted and inheritable ones: 32 bits of each, then the rest of them.
    let mut sets = [0u32; 6];
    let done = |result: libc::c_long| match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: a header and six numbers, as this version has them.
    done(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) })?;
    sets[..3].iter_mut().for_each(|set| *set &= !(1 << CAP_KILL));
    // SAFETY: the same.
    done(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) })
}
