//! A message for stack overflows in processes that never pass through std's
//! start-up, which installs its own.

use std::sync::atomic::{AtomicUsize, Ordering};

static LOW: AtomicUsize = AtomicUsize::new(0);
static HIGH: AtomicUsize = AtomicUsize::new(0);
const ALTERNATE: usize = 64 * 1024;

extern "C" fn overflowed(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler; only
    // async-signal-safe calls follow.
    unsafe {
        let address = (*info).si_addr() as usize;
        if (LOW.load(Ordering::Relaxed)..HIGH.load(Ordering::Relaxed)).contains(&address) {
            let text = b"\nthread 'main' has overflowed its stack\nfatal runtime error: stack overflow, aborting\n";
            libc::write(2, text.as_ptr().cast(), text.len());
            libc::abort();
        }
        // Some other fault: let it happen again, with the default outcome.
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
    }
}

/// Installs the handler on a stack of its own. For a template that serves in the
/// hook; its forks inherit both.
pub(crate) fn watch() {
    let here = 0u8;
    let here = (&raw const here) as usize;
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_STACK)
        .map_or(8 << 20, |(soft, _)| soft.min(1 << 40) as usize);
    // The main stack ends `limit` below its top, which is not far above this frame;
    // the kernel keeps a gap of 1 MiB (256 pages) below. A fault in between is an
    // overflow; so is one a little off on either side.
    HIGH.store(here.saturating_sub(limit).saturating_add(1 << 20), Ordering::Relaxed);
    LOW.store(here.saturating_sub(limit).saturating_sub(2 << 20), Ordering::Relaxed);
    // SAFETY: a fresh mapping becomes the alternate stack, for the life of the
    // process; the handler has the SA_SIGINFO signature.
    unsafe {
        let stack = libc::mmap(
            std::ptr::null_mut(),
            ALTERNATE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
            -1,
            0,
        );
        if stack == libc::MAP_FAILED {
            return;
        }
        let alternate = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: ALTERNATE };
        libc::sigaltstack(&alternate, std::ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = overflowed as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
        libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
    }
}
