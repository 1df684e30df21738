//! Does nothing, linked and not opted in, and tells how long the library's constructor
//! took, in nanoseconds: one constructor reads the clock before it, another one after it.

use offshoot as _;
use std::sync::atomic::{AtomicU64, Ordering};

static BEGAN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

type Constructor = extern "C" fn();

// The library's has priority 101.
#[used]
#[allow(unsafe_code)]
// SAFETY: the address of a function, which the C library calls once, before main; it needs
// none of the arguments that it is given.
#[unsafe(link_section = ".init_array.00100")]
static BEFORE: Constructor = begin;
#[used]
#[allow(unsafe_code)]
// SAFETY: as above.
#[unsafe(link_section = ".init_array.00102")]
static AFTER: Constructor = end;

extern "C" fn begin() {
    // The first time it costs more, here and there.
    ENDED.store(now(), Ordering::Relaxed);
    BEGAN.store(now(), Ordering::Relaxed);
}

extern "C" fn end() {
    ENDED.store(now(), Ordering::Relaxed);
}

#[allow(unsafe_code)]
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn main() {
    println!("{}", ENDED.load(Ordering::Relaxed) - BEGAN.load(Ordering::Relaxed));
}
