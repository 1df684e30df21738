//! Keeping threads on one CPU: where the kernel puts the two ends of a socket decides more
//! about a call than all that is done for it, and it need not put two pairs alike.

use std::io;

/// A thread that is kept on the first of the CPUs that it may use, until this is dropped.
pub(crate) struct OneCpu(libc::cpu_set_t);

impl OneCpu {
    /// Keeps the thread that calls this.
    pub(crate) fn keep() -> io::Result<OneCpu> {
        let all = get()?;
        // SAFETY: a set of CPUs is plain data, for which all zeroes is the empty set.
        #[allow(unsafe_code)]
        let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        for cpu in 0..libc::CPU_SETSIZE as usize {
            // SAFETY: within the set.
            #[allow(unsafe_code)]
            unsafe {
                if libc::CPU_ISSET(cpu, &all) {
                    libc::CPU_SET(cpu, &mut one);
                    break;
                }
            }
        }
        set(&one)?;
        Ok(OneCpu(all))
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        // They were allowed before.
        let _ = set(&self.0);
    }
}

#[allow(unsafe_code)]
fn get() -> io::Result<libc::cpu_set_t> {
    // SAFETY: as in `keep`.
    let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is written to, no further than its size.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&cpus), &mut cpus) };
    if done == 0 { Ok(cpus) } else { Err(io::Error::last_os_error()) }
}

#[allow(unsafe_code)]
fn set(cpus: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the set is read, no further than its size.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(cpus), cpus) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
