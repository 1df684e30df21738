//! Support for the tests: deadlines, and looking at processes from outside.
//!
//! Tests run programs of this package (`src/bin`), each with a scenario as its
//! argument, or opt in themselves with `offshoot::early!()`.

pub mod block_on;
pub mod entries;
pub mod false_worker;
pub mod forge;
pub mod groups;
pub mod hear;
pub mod lacking;
pub mod ledger;
pub mod logged;
pub mod lying;
pub mod marked;
pub mod probe;
pub mod proc;
pub mod program;
pub mod pty;
pub mod report;
pub mod shortage;
pub mod turnstile;

use std::collections::BTreeSet;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// No test takes longer than this, on a machine that is busy with others.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `test` on a thread of its own and fails if it has not ended in time.
pub fn within<T: Send + 'static>(limit: Duration, test: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let runner = thread::spawn(move || {
        let result = test();
        let _ = sender.send(());
        result
    });
    match receiver.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("not done within {limit:?}"),
        _ => runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Waits until `condition` holds, looking again and again, and fails if it does not
/// within `limit`. Only for what gives no event to wait for, such as a process that is
/// not ours; events are waited for.
pub fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The numbers of this process's open descriptors.
pub fn open_fds() -> BTreeSet<i32> {
    let dir = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let listed: Vec<i32> =
        dir.map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    // The listing itself had one open, which is closed by now.
    listed
        .into_iter()
        .filter(|fd| nix::fcntl::fcntl(borrow(*fd), nix::fcntl::FcntlArg::F_GETFD).is_ok())
        .collect()
}

#[allow(unsafe_code)]
fn borrow(fd: i32) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: only looked at by F_GETFD, which says if it is open.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}

/// State letter of a process as in /proc/PID/stat (`Z` for a zombie), if there is one.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until a thread sleeps, and has done so for many looks.
pub fn sleeps(tid: u32) {
    let mut asleep = 0;
    eventually(DEADLINE, "the thread sleeps", || {
        asleep = if state(tid) == Some('S') { asleep + 1 } else { 0 };
        asleep == 20
    });
}

/// Whether a process exists and is not a zombie.
pub fn runs(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// Parent of a process.
pub fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Runs a program of this package with a scenario, and fails if it takes too long.
pub fn run(program: &str, args: &[&str]) -> Output {
    run_command(Command::new(program).args(args))
}

/// Runs a prepared command with its output captured, and fails if it takes too long.
pub fn run_command(command: &mut Command) -> Output {
    run_command_within(DEADLINE, command)
}

/// The same, for what is slow by nature.
pub fn run_command_within(limit: Duration, command: &mut Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    within(limit, move || child.wait_with_output().expect("it can be waited for"))
}

/// Standard output of a scenario that has to succeed.
pub fn output_of(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {}\n{out}\n{err}", describe(output.status));
    out.into_owned()
}

fn describe(status: ExitStatus) -> String {
    status.to_string()
}

/// Whether the kernel is of this version, or a later one.
pub fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut parts = release.split(['.', '-']).map_while(|p| p.trim().parse::<u32>().ok());
    (parts.next(), parts.next()) >= (Some(major), Some(minor))
}
