//! Sends that fail as the kernel's do, without a kernel that is short of anything: a thread
//! has them answered by another one (seccomp_unotify(2)).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `_IOWR('!', 0, struct seccomp_notif)` and `_IOWR('!', 1, struct seccomp_notif_resp)`.
const RECEIVE: u32 = 0xc050_2100;
const ANSWER: u32 = 0xc018_2101;

/// From now on the next `times` sends of this thread, and of those that it starts, fail with
/// `errno`; what is returned says how many are left. An error where the system cannot do that.
pub fn sends_fail(errno: i32, times: usize) -> io::Result<Arc<AtomicUsize>> {
    let listener = filter()?;
    let left = Arc::new(AtomicUsize::new(times));
    let count = Arc::clone(&left);
    // This one is of the thread, too: it must not send. It ends with the process.
    thread::spawn(move || while answer(&listener, errno, &count) {});
    Ok(left)
}

#[allow(unsafe_code)]
fn filter() -> io::Result<File> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |k: libc::c_long, jt, jf| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt,
        jf,
        k: k as u32,
    };
    let mut program = [
        // The number of the call is what comes first.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        jump(libc::SYS_sendto, 1, 0),
        jump(libc::SYS_sendmsg, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: prctl takes numbers here, and seccomp a program that lives until it returns;
    // the descriptor is new, and ours alone.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &program,
        );
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_raw_fd(fd as i32))
    }
}

/// Answers for one send; whether there may be more.
#[allow(unsafe_code)]
fn answer(listener: &File, errno: i32, left: &AtomicUsize) -> bool {
    // SAFETY: plain data, for which all zeroes is a valid value, and wanted by the kernel.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such structure there.
    if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &mut asked) } != 0 {
        // One that was killed meanwhile, perhaps.
        let error = io::Error::last_os_error().raw_os_error();
        return matches!(error, Some(libc::ENOENT | libc::EINTR));
    }
    let less = |left: usize| left.checked_sub(1);
    let fails = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
    let mut told = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: if fails { -errno } else { 0 },
        flags: if fails { 0 } else { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 },
    };
    // SAFETY: as above; it reads one there.
    unsafe { libc::ioctl(listener.as_raw_fd(), ANSWER as _, &mut told) };
    true
}
