//! The configuration steps: how a process is to differ from the program as it was
//! started.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::error::Kind;
use crate::process::Process;
use crate::sys::{settings, signal};
use crate::wire::Step;

/// A resource whose use can be limited (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// CPU time, in seconds: SIGXCPU at the soft limit, SIGKILL at the hard one.
    Cpu,
    /// Size of a file that is written, in bytes: SIGXFSZ.
    FileSize,
    /// Data segment and private writable memory, in bytes.
    Data,
    /// Stack, in bytes: SIGSEGV.
    Stack,
    /// Core file, in bytes.
    Core,
    /// Processes of the user: EAGAIN.
    Processes,
    /// One more than the highest descriptor: EMFILE.
    OpenFiles,
    /// Locked memory, in bytes.
    LockedMemory,
    /// Address space, in bytes: allocations fail. What the template has mapped counts.
    AddressSpace,
    /// Bytes in POSIX message queues.
    MessageQueues,
    /// Signals queued for the user.
    PendingSignals,
}

impl Resource {
    #[allow(clippy::unnecessary_cast, reason = "the constants are signed on musl")]
    fn number(self) -> u32 {
        let number = match self {
            Resource::Cpu => libc::RLIMIT_CPU,
            Resource::FileSize => libc::RLIMIT_FSIZE,
            Resource::Data => libc::RLIMIT_DATA,
            Resource::Stack => libc::RLIMIT_STACK,
            Resource::Core => libc::RLIMIT_CORE,
            Resource::Processes => libc::RLIMIT_NPROC,
            Resource::OpenFiles => libc::RLIMIT_NOFILE,
            Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
            Resource::AddressSpace => libc::RLIMIT_AS,
            Resource::MessageQueues => libc::RLIMIT_MSGQUEUE,
            Resource::PendingSignals => libc::RLIMIT_SIGPENDING,
        };
        number as u32
    }
}

/// # Configuration
///
/// Each takes effect in the new process, in order with the other steps. Where one
/// fails there, the process ends without having run, and [`Child::wait`] (for a
/// template: the `run` of its forks) tells why: [`is_config`](crate::Error::is_config).
///
/// [`Child::wait`]: crate::Child::wait
impl Process {
    /// Makes `fd` the standard input. A copy of it is sent.
    pub fn stdin(self, fd: impl AsFd) -> Process {
        self.stdio(fd, 0)
    }

    /// Makes `fd` the standard output. A copy of it is sent.
    pub fn stdout(self, fd: impl AsFd) -> Process {
        self.stdio(fd, 1)
    }

    /// Makes `fd` the standard error. A copy of it is sent.
    pub fn stderr(self, fd: impl AsFd) -> Process {
        self.stdio(fd, 2)
    }

    fn stdio(mut self, fd: impl AsFd, number: u8) -> Process {
        self.queue().fd(fd.as_fd(), &Step::Stdio(number), true);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Process {
        let (key, value) = (key.as_ref().as_bytes(), value.as_ref().as_bytes());
        if self.check_key(key) && self.check_nul("an environment variable", value) {
            self.queue().config(&Step::Env { key: key.into(), value: value.into() });
        }
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Process {
        let key = key.as_ref().as_bytes();
        if self.check_key(key) {
            self.queue().config(&Step::EnvRemove(key.into()));
        }
        self
    }

    /// Removes all environment variables.
    pub fn env_clear(mut self) -> Process {
        self.queue().config(&Step::EnvClear);
        self
    }

    /// Sets the working directory. A relative path counts from the directory in which
    /// the program was started, or that an earlier step has set.
    pub fn current_dir(mut self, path: impl AsRef<Path>) -> Process {
        let path = path.as_ref().as_os_str().as_bytes();
        if self.check_nul("a working directory", path) {
            self.queue().config(&Step::Directory(path.into()));
        }
        self
    }

    /// Limits a resource. A process can lower its hard limit for good, and move the
    /// soft one up to it; only root can raise the hard one. `u64::MAX` is no limit.
    pub fn rlimit(mut self, resource: Resource, soft: u64, hard: u64) -> Process {
        self.queue().config(&Step::Limit { resource: resource.number(), soft, hard });
        self
    }

    /// Sets the umask, to its last nine bits.
    pub fn umask(mut self, mask: u32) -> Process {
        self.queue().config(&Step::Umask(mask & 0o777));
        self
    }

    /// Sets the niceness itself, from -20 (most favourable, for root) to 19.
    pub fn nice(mut self, nice: i32) -> Process {
        self.queue().config(&Step::Nice(nice));
        self
    }

    /// The CPUs on which the process, and whatever it starts, may run (sched_setaffinity(2)),
    /// by their numbers, from 0 to 1023.
    pub fn cpu_affinity(mut self, cpus: impl IntoIterator<Item = usize>) -> Process {
        let mut set = Vec::new();
        for cpu in cpus {
            if cpu >= settings::CPUS {
                self.queue().fail(move || Kind::Argument(format!("{cpu} is not a CPU")));
                return self;
            }
            if set.len() <= cpu / 8 {
                set.resize(cpu / 8 + 1, 0);
            }
            set[cpu / 8] |= 1 << (cpu % 8);
        }
        if set.is_empty() {
            self.queue().fail(|| Kind::Argument("a process needs a CPU to run on".to_owned()));
        } else {
            self.queue().config(&Step::Cpus(set.into()));
        }
        self
    }

    /// Moves the process to a control group of version 2, before anything of its own runs:
    /// an absolute path of the group's directory, `/sys/fs/cgroup/…`. Whoever may move
    /// processes there is said in cgroups(7).
    pub fn cgroup(mut self, path: impl AsRef<Path>) -> Process {
        let path = path.as_ref();
        if !path.is_absolute() {
            let shown = path.display().to_string();
            self.queue().fail(move || {
                Kind::Argument(format!("the path of a control group is not absolute: {shown}"))
            });
        } else if self.check_nul("a control group", path.as_os_str().as_bytes()) {
            self.queue().config(&Step::Cgroup(path.as_os_str().as_bytes().into()));
        }
        self
    }

    /// Moves the process to a process group; 0 makes it the leader of a new one, so
    /// that signals from the terminal do not reach it.
    pub fn process_group(mut self, group: i32) -> Process {
        self.queue().config(&Step::Group(group));
        self
    }

    /// Sets the user, in all three user ids. A process of root drops its
    /// supplementary groups with it. Give the group first: afterwards it cannot be
    /// set any more.
    pub fn uid(mut self, uid: u32) -> Process {
        self.queue().config(&Step::Uid(uid));
        self
    }

    /// Sets the group, in all three group ids.
    pub fn gid(mut self, gid: u32) -> Process {
        self.queue().config(&Step::Gid(gid));
        self
    }

    /// Sends this signal, instead of SIGKILL, when the process that it was forked from
    /// dies: its template, and with the program all templates die. Forks of this process
    /// get it too. (The kernel forgets the signal of a process that changes its user or
    /// group. An entry that does has to set it again, by prctl(2), and then to look
    /// whether its parent still is there; a setup function need not.)
    pub fn parent_death_signal(mut self, number: i32) -> Process {
        if number > 0 && signal::is_valid(number) {
            self.queue().config(&Step::DeathSignal(number));
        } else {
            self.queue().fail(move || Kind::Argument(format!("{number} is not a signal")));
        }
        self
    }

    /// Lets the process outlive its template, and the program; forks of this process
    /// too. The status of a process that does is known to nobody.
    ///
    /// A program may end as soon as it has asked for such a process. But it is made by its template: one with
    /// setup functions, or another's fork, dies with the program unless it is detached itself, and makes
    /// nothing after that. And setup functions that were queued before this run while the process is not
    /// detached yet.
    pub fn detach(mut self) -> Process {
        self.queue().config(&Step::DeathSignal(0));
        self
    }

    /// What `ps` shows for the process: `comm`, cut at 15 bytes, and the command line,
    /// as far as the program's own arguments had room. The default names the entry
    /// and the program.
    pub fn title(mut self, title: impl Into<String>) -> Process {
        self.queue().config(&Step::Title(title.into().into()));
        self
    }

    /// Whether a template collapses what its setup functions have loaded into huge
    /// pages before it is first forked, where that is large and the kernel can (Linux
    /// 6.1). On by default: a fork with 200 MB in small pages takes forty times as
    /// long as one without. A process that then *writes* to much of it copies 2 MiB
    /// at a time; for such, switch it off. `OFFSHOOT_HUGE_PAGES=0` in the environment
    /// of the program switches it off for all.
    pub fn huge_pages(mut self, on: bool) -> Process {
        self.queue().config(&Step::HugePages(on));
        self
    }

    /// Gives the process the environment, working directory, umask, limits and niceness
    /// that this program has *now*, in place of those that it was started with. (A template
    /// that is made by executing the program has its niceness of that moment in any case.)
    pub fn like_parent(mut self) -> Process {
        if let Err(error) = self.queue_like_parent() {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            self.queue().fail(move || Kind::System {
                what: "looking up this program's own settings",
                source: io::Error::from_raw_os_error(errno),
            });
        }
        self
    }

    fn queue_like_parent(&mut self) -> io::Result<()> {
        // An O_PATH descriptor names the directory even if it has been moved or removed.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(".", flags, Mode::empty())?;
        let queue = self.queue();
        queue.config(&Step::EnvClear);
        for (key, value) in std::env::vars_os() {
            let (key, value) = (key.as_bytes().into(), value.as_bytes().into());
            queue.config(&Step::Env { key, value });
        }
        queue.fd(directory.as_fd(), &Step::DirectoryFd, true);
        if let Some(mask) = settings::umask_now() {
            queue.config(&Step::Umask(mask));
        }
        for (resource, [soft, hard]) in settings::limits().into_iter().enumerate() {
            queue.config(&Step::Limit { resource: resource as u32, soft, hard });
        }
        queue.config(&Step::Nice(settings::nice_now()));
        Ok(())
    }

    fn check_key(&mut self, key: &[u8]) -> bool {
        let good = !key.is_empty() && !key.contains(&b'=');
        if !good {
            let shown = String::from_utf8_lossy(key).into_owned();
            self.queue().fail(move || {
                Kind::Argument(format!("`{shown}` cannot be the name of an environment variable"))
            });
        }
        good && self.check_nul("the name of an environment variable", key)
    }

    fn check_nul(&mut self, what: &'static str, bytes: &[u8]) -> bool {
        let good = !bytes.contains(&0);
        if !good {
            self.queue().fail(move || Kind::Argument(format!("{what} has a NUL in it")));
        }
        good
    }
}
