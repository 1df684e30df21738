//! A program that plays a scene: started, talked to by lines, killed, and looked
//! for afterwards.
//!
//! Every process of it inherits its standard output, so the end of that is the event
//! that says "nobody is left"; and carries a mark in the environment that it was
//! started with, so that those who are left can be named.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{runs, within};

/// No process of a program is to be there longer than this after its end: a second, and
/// where there is more to do than there are CPUs, so many more.
pub fn at_once() -> Duration {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = load.split([' ', '/']).map_while(|number| number.parse::<f64>().ok());
    // Of the last minute, and of now.
    let busy = numbers.next().unwrap_or_default().max(numbers.nth(2).unwrap_or_default());
    let cpus = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    Duration::from_secs_f64((busy / cpus).clamp(1.0, 30.0))
}

/// How many processes the scene `tree` announces.
pub const TREE: usize = 15;

/// Names the environment variable of [`Program`]'s mark.
const MARK: &str = "OFFSHOOT_TEST_MARK";

/// A running program of this package. Killed when dropped.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
    mark: String,
}

impl Program {
    /// Starts `program` with a scene and its arguments.
    pub fn play(program: &str, scene: &[&str]) -> Program {
        Program::start(Command::new(program).args(scene))
    }

    /// Starts a prepared command.
    pub fn start(command: &mut Command) -> Program {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}.{count}", std::process::id());
        command.env(MARK, &mark).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Program { child, input, output, mark }
    }

    /// Process id of the main program.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its next line; fails at the end of its output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let output = self.output.as_mut().expect("it is read to its end once");
        output.read_line(&mut line).expect("its output is text");
        assert!(line.ends_with('\n'), "the program ended after `{line}`");
        line.truncate(line.len() - 1);
        line
    }

    /// Its next line, which has to begin with `word`; the rest of it.
    pub fn expect(&mut self, word: &str) -> String {
        let line = self.line();
        match line.strip_prefix(word) {
            Some(rest) => rest.trim().to_owned(),
            None => panic!("`{word}` was to come, not `{line}`"),
        }
    }

    /// As `expect`, where a number follows.
    pub fn number(&mut self, word: &str) -> u32 {
        self.expect(word).parse().expect("a number follows")
    }

    /// Lets it go on from where it waits.
    pub fn go_on(&mut self) {
        let input = self.input.as_mut().expect("it is still listening");
        input.write_all(b"\n").expect("it is still listening");
    }

    /// kill -9 of the main program.
    pub fn kill(&mut self) {
        self.child.kill().expect("it has not been waited for");
    }

    /// Waits for the main program's end.
    pub fn wait(&mut self) -> ExitStatus {
        self.input = None;
        self.child.wait().expect("it can be waited for")
    }

    /// Waits for its end, which has to be a success.
    pub fn succeed(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{status}");
    }

    /// What else is written to its output, until nobody has that any more.
    pub fn output_ends(&mut self) -> String {
        self.rest(crate::DEADLINE)
    }

    /// What else is written to its output, until the last of its processes is gone:
    /// fails, naming them, if there still are some after `limit`.
    pub fn nobody_left(&mut self, limit: Duration) -> String {
        let rest = self.rest(limit);
        let _ = self.child.wait();
        // The templates of a daemon have let go of its output before they end.
        let start = std::time::Instant::now();
        while !self.pids().is_empty() {
            let left = self.processes();
            assert!(start.elapsed() < limit, "without its output, but still there: {left:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        rest
    }

    fn rest(&mut self, limit: Duration) -> String {
        let mut output = self.output.take().expect("it is read to its end once");
        let (sender, receiver) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut rest = String::new();
            let read = output.read_to_string(&mut rest).map(|_| rest);
            let _ = sender.send(());
            read
        });
        if receiver.recv_timeout(limit).is_err() {
            panic!("still there after {limit:?}: {:?}", self.processes());
        }
        reader.join().expect("reading does not panic").expect("its output is text")
    }

    /// Its processes, as `pid name state`, zombies excepted.
    pub fn processes(&self) -> Vec<String> {
        let all = self.pids().into_iter();
        all.map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{pid} {} {:?}", name.trim(), crate::state(pid))
        })
        .collect()
    }

    /// The ids of its processes, zombies excepted.
    pub fn pids(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.mark).into_bytes();
        let all = fs::read_dir("/proc").expect("/proc is mounted");
        all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|b| *b == 0).any(|v| v == mark) && runs(*pid)
            })
            .collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Watches a process that is not ours.
pub struct Watched {
    pid: u32,
    /// `None` where there are none.
    fd: Option<OwnedFd>,
}

impl Watched {
    /// Begins to watch; the process has to exist.
    #[allow(unsafe_code)]
    pub fn new(pid: u32) -> Watched {
        // SAFETY: two numbers; the result is checked.
        let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0u32) };
        let error = std::io::Error::last_os_error();
        if raw < 0 && matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) {
            return Watched { pid, fd: None };
        }
        assert!(raw >= 0, "process {pid}: {error}");
        // SAFETY: the kernel just made it.
        Watched { pid, fd: Some(unsafe { OwnedFd::from_raw_fd(raw as i32) }) }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended, or ends within `limit`.
    pub fn gone_within(&self, limit: Duration) -> bool {
        let Some(fd) = &self.fd else {
            let start = std::time::Instant::now();
            // Nothing tells: it is looked for again and again.
            while runs(self.pid) && start.elapsed() < limit {
                std::thread::sleep(Duration::from_millis(2));
            }
            return !runs(self.pid);
        };
        let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).expect("a short time");
        poll(&mut polled, limit).expect("it can be polled") > 0
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.pid as i32);
        nix::sys::signal::kill(pid, signal).expect("it can be sent a signal");
    }
}

/// The signal that a process died of.
pub fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// Runs a test against each of several programs, with a deadline for all.
pub fn on_each(programs: &[&'static str], test: impl Fn(&str) + Send + 'static) {
    let programs = programs.to_vec();
    within(crate::DEADLINE, move || programs.iter().for_each(|program| test(program)));
}

/// A copy of a program that everybody can execute; it goes with the directory.
pub fn copy_for_all(program: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("there is room");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let copy = dir.path().join("program");
    let copied = Command::new("/bin/cp").arg(program).arg(&copy).status();
    assert!(copied.expect("it can be started").success());
    let copy = copy.to_str().expect("a plain name").to_owned();
    (dir, copy)
}
