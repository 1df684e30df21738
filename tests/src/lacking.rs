//! Kernels and containers that lack something: a filter of system calls (seccomp(2)) for
//! programs that the tests start, and for all that these start.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::sock_filter;

/// Who refuses, and so what and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// A kernel that has never heard of it.
    OldKernel,
    /// A container whose filter was made before it, and that lets nobody make namespaces.
    Container,
}

/// Both.
pub const BOTH: [Lacking; 2] = [Lacking::OldKernel, Lacking::Container];

const MADV_COLLAPSE: u32 = 25;
/// Of clone(2), in its first argument.
const NAMESPACES: u32 = 0x7e02_0000;

/// What system calls are called here; 0 where nobody has looked it up.
const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    0
};

// As in seccomp_data.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

const fn load(offset: u32) -> sock_filter {
    sock_filter {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k: offset,
    }
}

const fn answer(with: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: with }
}

/// Goes on with the next if it holds, and else with the one behind as many others.
const fn unless_skip(test: u32, value: u32, skipped: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | test | libc::BPF_K) as u16, jt: 0, jf: skipped, k: value }
}

const fn refuse(errno: i32) -> sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | errno as u32)
}

/// Refuses the call; where it has a test, only if that holds for its argument.
fn rule(call: libc::c_long, test: Option<(u32, u32, u32)>, errno: i32) -> Vec<sock_filter> {
    let call = call as u32;
    match test {
        None => vec![unless_skip(libc::BPF_JEQ, call, 1), refuse(errno)],
        Some((argument, test, value)) => vec![
            unless_skip(libc::BPF_JEQ, call, 4),
            load(ARGUMENTS + 8 * argument),
            unless_skip(test, value, 1),
            refuse(errno),
            load(NUMBER),
        ],
    }
}

impl Lacking {
    fn filter(self) -> Vec<sock_filter> {
        let unknown = match self {
            Lacking::OldKernel => libc::ENOSYS,
            Lacking::Container => libc::EPERM,
        };
        let mut rules = vec![
            rule(libc::SYS_pidfd_open, None, unknown),
            rule(libc::SYS_pidfd_getfd, None, unknown),
            rule(libc::SYS_pidfd_send_signal, None, unknown),
            rule(libc::SYS_close_range, None, unknown),
            // The C library starts no thread if this is refused in any other way.
            rule(libc::SYS_clone3, None, libc::ENOSYS),
            rule(libc::SYS_madvise, Some((2, libc::BPF_JEQ, MADV_COLLAPSE)), libc::EINVAL),
        ];
        if self == Lacking::Container {
            rules.push(rule(libc::SYS_unshare, None, libc::EPERM));
            rules.push(rule(libc::SYS_clone, Some((0, libc::BPF_JSET, NAMESPACES)), libc::EPERM));
        }
        let rules = rules.concat();
        let past = u8::try_from(rules.len() + 1).expect("it is short");
        let begin = [load(ARCH), unless_skip(libc::BPF_JEQ, ARCHITECTURE, past), load(NUMBER)];
        [&begin[..], &rules, &[answer(libc::SECCOMP_RET_ALLOW)]].concat()
    }

    /// The errno of pidfd_open(2).
    pub fn no_pidfd(self) -> i32 {
        match self {
            Lacking::OldKernel => libc::ENOSYS,
            Lacking::Container => libc::EPERM,
        }
    }

    /// Has the program started there. What was set with `pre_exec` before is done before.
    #[allow(unsafe_code)]
    pub fn place(self, command: &mut Command) -> &mut Command {
        let mut filter = self.filter();
        // SAFETY: between fork and exec only system calls are made; the filter is the
        // closure's own, and of the length that it says.
        unsafe {
            command.pre_exec(move || {
                let program =
                    libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
                if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                    || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
                {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            })
        }
    }

    /// A command that is placed there.
    pub fn command(self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        self.place(&mut command);
        command
    }
}

/// Whether programs can be filtered here; says why not.
pub fn can_be_played() -> bool {
    if ARCHITECTURE == 0 {
        println!("skipped: how system calls are numbered here is not known to the test");
        return false;
    }
    match Lacking::Container.command("true", &[]).status() {
        Ok(status) => assert!(status.success(), "{status}"),
        Err(e) => {
            println!("skipped: system calls cannot be filtered here: {e}");
            return false;
        }
    }
    true
}
