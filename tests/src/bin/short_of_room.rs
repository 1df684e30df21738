//! A program in whose templates the kernel is short of memory for what they send, and
//! waits that have a limit are over at once.
//!
//! Functions of the C library are replaced for that, by ones of this program: so it is the
//! same in a static build.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{c_int, msghdr, nfds_t, pollfd, ssize_t, timespec};
use nix::sys::socket::{setsockopt, sockopt};
use offshoot::{Args, Child, Process};
use offshoot_tests::entries::{answer, answers, linger};
use offshoot_tests::probe::{children_of, template_of};
use offshoot_tests::{DEADLINE, eventually, open_fds};

/// What is not sent, how often still, and why not: replies of this kind (or of any: 0).
static KIND: AtomicI32 = AtomicI32::new(0);
static TIMES: AtomicI32 = AtomicI32::new(0);
static ERRNO: AtomicI32 = AtomicI32::new(0);
/// Time passes as if there was no end to it. In here it is said, once, that somebody waits.
static WAITS: Mutex<Option<File>> = Mutex::new(None);
static HURRIED: AtomicI32 = AtomicI32::new(0);

const READY: &str = "129";
const FAILED: &str = "130";
const EXITED: &str = "131";
const ANY: &str = "0";

/// # Safety
/// As sendmsg(2).
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "to replace what the library calls")]
#[allow(clippy::unnecessary_cast, reason = "the count is of another type on musl")]
pub unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's message, whose first part, if there is one, is readable.
    let kind = unsafe {
        let parts = std::slice::from_raw_parts((*message).msg_iov, (*message).msg_iovlen as usize);
        let first = parts.first().filter(|p| p.iov_len > 0);
        first.map_or(0, |p| p.iov_base.cast::<u8>().read())
    };
    let chosen = [0, i32::from(kind)].contains(&KIND.load(Ordering::Relaxed)) && kind > 128;
    if chosen && TIMES.load(Ordering::Relaxed) > 0 {
        TIMES.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: this thread's own number.
        unsafe { *libc::__errno_location() = ERRNO.load(Ordering::Relaxed) };
        return -1;
    }
    // SAFETY: as the caller promises.
    unsafe { libc::syscall(libc::SYS_sendmsg, fd, message, flags) as ssize_t }
}

/// # Safety
/// As poll(2).
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "to replace what the library calls")]
pub unsafe extern "C" fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    let waits = if timeout != 0 { WAITS.lock().unwrap().take() } else { None };
    if let Some(mut waits) = waits {
        waits.write_all(b"!").unwrap();
    }
    if timeout > 0 && HURRIED.load(Ordering::Relaxed) > 0 {
        return 0;
    }
    let limit = timespec {
        tv_sec: libc::time_t::from(timeout / 1000),
        tv_nsec: (timeout % 1000 * 1_000_000).into(),
    };
    let limit = if timeout < 0 { std::ptr::null() } else { &raw const limit };
    let no_mask = std::ptr::null::<u64>();
    // SAFETY: as the caller promises.
    unsafe { libc::syscall(libc::SYS_ppoll, fds, count, limit, no_mask, 8usize) as c_int }
}

/// From now on, so many times, replies of a kind are not sent for a reason.
#[offshoot::setup]
fn short(args: Args) {
    let numbers: Vec<i32> = args.text().iter().map(|n| n.parse().unwrap()).collect();
    KIND.store(numbers[0], Ordering::Relaxed);
    ERRNO.store(numbers[1], Ordering::Relaxed);
    TIMES.store(numbers[2], Ordering::Relaxed);
}

fn short_of(process: Process, kind: &str, errno: i32, times: i32) -> Process {
    process.setup(short, [kind, &errno.to_string(), &times.to_string()])
}

/// The sockets of this process take only a few messages, and so does its template's, as it
/// is one of them.
#[offshoot::setup]
#[allow(unsafe_code)]
fn squeeze(_: Args) {
    for raw in open_fds().into_iter().filter(|raw| *raw > 2) {
        // SAFETY: it is open, and stays so while its option is set.
        let fd = unsafe { BorrowedFd::borrow_raw(raw) };
        // Not all are sockets.
        let _ = setsockopt(&fd, sockopt::SndBuf, &1);
    }
}

/// The next wait is told of, and those with a limit are over at once.
#[offshoot::setup]
fn hurry(_: Args) {
    *WAITS.lock().unwrap() = offshoot::run_args().fds.pop().map(File::from);
    HURRIED.store(1, Ordering::Relaxed);
}

fn new() -> Process {
    Process::new().unwrap()
}

/// No reply is lost for want of memory, of whatever kind it is.
fn memory() {
    for errno in [libc::ENOBUFS, libc::ENOMEM] {
        answers(short_of(new(), READY, errno, 3));
        let template = short_of(new(), READY, errno, 3);
        answers(template.fork().unwrap());
        let template = short_of(new(), FAILED, errno, 3);
        let child = template.fork().unwrap().exec(["/no/such/program"]).unwrap();
        let told = child.wait_timeout(DEADLINE / 2);
        assert!(told.expect_err("there is none").is_exec());
        let template = short_of(new(), EXITED, errno, 3);
        let children: Vec<_> =
            (0..5).map(|_| template.fork().unwrap().run(answer).unwrap()).collect();
        for child in children {
            let told = child.wait_timeout(DEADLINE / 2).expect("its status is told");
            assert!(told.expect("in time").success());
        }
        let template = short_of(new(), ANY, errno, 5);
        let child = template.fork().unwrap().run(linger).unwrap();
        assert_eq!(template_of(&child), offshoot_tests::parent_of(child.id().unwrap()).unwrap());
        child.kill().unwrap();
        assert!(child.wait_timeout(DEADLINE / 2).unwrap().is_some());
    }
}

/// What is no shortage: a template tries again, and a new process that cannot say that it
/// is ready is none.
fn refusal() {
    let error = short_of(new(), READY, libc::EPERM, i32::MAX).run(answer).unwrap_err();
    assert!(error.is_disconnected(), "{error:?}");
    let template = short_of(new(), EXITED, libc::EPERM, 3);
    let child = template.fork().unwrap().run(answer).unwrap();
    assert!(child.wait_timeout(DEADLINE / 2).unwrap().expect("in time").success());
}

/// The default template has more to tell than its socket takes, and nobody reads.
fn unread() -> Vec<Child> {
    answers(new().setup(squeeze, [""; 0]));
    let children: Vec<_> = (0..20).map(|_| new().run(linger).unwrap()).collect();
    // The last that is read, until somebody waits for something again.
    let template = template_of(&children[19]);
    for child in &children {
        child.stream().shutdown(std::net::Shutdown::Write).unwrap();
    }
    eventually(DEADLINE, "all have ended", || children_of(template).is_empty());
    children
}

/// A process with a setup function that has come to where it waits to tell that it is ready.
fn waiting(process: Process) -> Process {
    let (mut told, tells) = std::io::pipe().unwrap();
    let template = process.send_fd(OwnedFd::from(tells)).setup(hurry, [""; 0]);
    let forked = template.fork().unwrap();
    drop(template);
    assert_eq!(told.read(&mut [0]).unwrap(), 1);
    forked
}

fn late() {
    let children = unread();
    let forked = waiting(new());
    answers(forked);
    for child in children {
        let told = child.wait_timeout(DEADLINE / 2).expect("its status is told");
        assert!(told.expect("in time").success());
    }
}

/// The program ends, and with it those that wait to tell it something.
fn never() {
    let _children = unread();
    let _one = waiting(new());
    let _other = waiting(new().detach());
    println!("they wait");
}

#[offshoot::main]
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("memory") => memory(),
        Some("refusal") => refusal(),
        Some("late") => late(),
        Some("never") => never(),
        other => panic!("no such scenario: {other:?}"),
    }
}
