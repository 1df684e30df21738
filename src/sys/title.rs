//! The strings on the initial stack: arguments, environment, and the title that
//! `ps` shows.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use libc::c_char;

/// Where the kernel put the program's arguments and environment.
#[derive(Clone, Copy)]
pub(crate) struct StartStrings {
    argc: usize,
    argv: *mut *const c_char,
    envp: *const *const c_char,
}

static ARGC: AtomicUsize = AtomicUsize::new(0);
static ARGV: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());
static ENVP: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());
static ENV_FIRST: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());
static ENV_COUNT: AtomicUsize = AtomicUsize::new(0);
static ROOM: AtomicUsize = AtomicUsize::new(0);
static ROOM_START: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());

unsafe extern "C" {
    static mut environ: *mut *const c_char;
}

/// Notes where the initial strings are. To be called in the constructor: then
/// `environ` still is the array that the kernel made, just above `argv`.
#[inline]
pub(crate) fn note_start() {
    // SAFETY: before main, one thread. The kernel lays out argc, argv[argc], NULL,
    // envp, NULL without a gap (the psABI's initial process stack); reading
    // backwards stops at argc, which is checked to match before it is believed.
    unsafe {
        let envp = environ;
        if envp.is_null() || !(*envp.sub(1)).is_null() {
            return;
        }
        let mut argc = 0;
        while argc < 1 << 20 && *envp.sub(2 + argc).cast::<usize>() != argc {
            argc += 1;
        }
        if argc == 0 || argc == 1 << 20 {
            return;
        }
        ARGC.store(argc, Ordering::Relaxed);
        ARGV.store(envp.sub(1 + argc), Ordering::Relaxed);
        ENVP.store(envp, Ordering::Relaxed);
        ENV_FIRST.store((*envp).cast_mut(), Ordering::Relaxed);
        let mut count = 0;
        while !(*envp.add(count)).is_null() {
            count += 1;
        }
        ENV_COUNT.store(count, Ordering::Relaxed);
    }
}

pub(crate) fn start_strings() -> StartStrings {
    StartStrings {
        argc: ARGC.load(Ordering::Relaxed),
        argv: ARGV.load(Ordering::Relaxed),
        envp: ENVP.load(Ordering::Relaxed),
    }
}

impl StartStrings {
    pub(crate) fn argc(&self) -> libc::c_int {
        self.argc as libc::c_int
    }

    pub(crate) fn argv(&self) -> *const *const c_char {
        self.argv
    }

    pub(crate) fn envp(&self) -> *const *const c_char {
        self.envp
    }

    /// The arguments that the program was started with.
    pub(crate) fn args(&self) -> Vec<CString> {
        (0..self.argc)
            // SAFETY: argc strings, noted at the start, which live as long as the
            // process (or, once a title was set, our copies, which do too).
            .map(|i| unsafe { CStr::from_ptr(*self.argv.add(i)) }.to_owned())
            .collect()
    }

    /// Whether the program was started with this variable, without the cost of
    /// `std::env`, which copies and locks, or of any other function: this is looked for
    /// in each program's start.
    #[inline]
    pub(crate) fn has_variable(&self, name: &str) -> bool {
        if self.envp.is_null() {
            return std::env::var_os(name).is_some();
        }
        let mut slot = self.envp;
        // SAFETY: in the constructor: the NULL-terminated array that the kernel made.
        while let Some(string) = unsafe { (*slot).as_ref() } {
            let at = &raw const *string;
            // SAFETY: a C string of that array, read no further than it is the same as
            // the name, which has no NUL in it, and one byte more.
            let byte = |i| unsafe { at.wrapping_add(i).read() } as u8;
            if name.bytes().chain([b'=']).enumerate().all(|(i, b)| byte(i) == b) {
                return true;
            }
            slot = slot.wrapping_add(1);
        }
        false
    }

    /// The environment that the program was started with, whatever setenv(3) has
    /// done since: the strings themselves stay where the kernel put them.
    pub(crate) fn environment(&self) -> Vec<CString> {
        let mut at = ENV_FIRST.load(Ordering::Relaxed).cast_const();
        let mut all = Vec::new();
        if at.is_null() {
            return all;
        }
        for _ in 0..ENV_COUNT.load(Ordering::Relaxed) {
            // SAFETY: the kernel lays the strings out one behind the other, and
            // ENV_COUNT of them were there.
            let string = unsafe { CStr::from_ptr(at) };
            all.push(string.to_owned());
            at = at.wrapping_add(string.to_bytes_with_nul().len());
        }
        all
    }
}

unsafe extern "C" {
    #[cfg(target_env = "gnu")]
    static mut program_invocation_name: *mut c_char;
    #[cfg(target_env = "gnu")]
    static mut program_invocation_short_name: *mut c_char;
}

/// Frees the area of the arguments for titles: `std::env::args` and C's
/// `program_invocation_name` read copies from now on. For a template, once.
pub(crate) fn prepare() {
    let s = start_strings();
    if s.argc == 0 || !ROOM_START.load(Ordering::Relaxed).is_null() {
        return;
    }
    // SAFETY: a template: one thread. argv's strings are argc, each NUL-terminated;
    // the room ends where they stop being contiguous. The copies are leaked, as
    // the process may look at them until it ends.
    unsafe {
        let start = (*s.argv).cast_mut();
        let mut end = start;
        for i in 0..s.argc {
            let at = (*s.argv.add(i)).cast_mut();
            if at == end {
                end = end.add(CStr::from_ptr(at).to_bytes_with_nul().len());
            }
        }
        for i in 0..s.argc {
            let copy = CStr::from_ptr(*s.argv.add(i)).to_owned().into_raw();
            *s.argv.add(i) = copy;
            #[cfg(target_env = "gnu")]
            if i == 0 {
                program_invocation_name = copy;
                let bytes = CStr::from_ptr(copy).to_bytes();
                let base = bytes.iter().rposition(|b| *b == b'/').map_or(0, |p| p + 1);
                program_invocation_short_name = copy.add(base);
            }
        }
        ROOM.store(end.offset_from(start) as usize, Ordering::Relaxed);
        ROOM_START.store(start, Ordering::Relaxed);
    }
}

/// Sets what `ps` shows: `comm` (cut at 15 bytes) and, as far as there is room,
/// the command line; each of the pieces given.
#[inline]
pub(crate) fn set(comm: &[&[u8]], line: &[&[u8]]) {
    let mut name = [0; 16];
    fill(&mut name[..15], comm);
    // SAFETY: a NUL-terminated name of at most 16 bytes.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NAME, name.as_ptr()) };
    let start = ROOM_START.load(Ordering::Relaxed);
    let room = ROOM.load(Ordering::Relaxed);
    if start.is_null() || room < 2 {
        return;
    }
    // SAFETY: `room` bytes from `start` are the old arguments, which `prepare` has
    // freed for this; one thread runs in a process that sets its title.
    let area = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), room) };
    let end = fill(&mut area[..room - 1], line);
    area[end..].iter_mut().for_each(|byte| put(byte, 0));
}

/// Puts the pieces one behind the other, as far as they fit; how far that is.
#[inline]
fn fill(area: &mut [u8], pieces: &[&[u8]]) -> usize {
    let mut at = 0;
    for (to, from) in area.iter_mut().zip(pieces.iter().copied().flatten()) {
        put(to, *from);
        at += 1;
    }
    at
}

/// A byte that no loop of them is made a call of memcpy for: in a new process each
/// library function that is entered costs a fault.
#[inline]
fn put(to: &mut u8, byte: u8) {
    // SAFETY: a valid byte of ours.
    unsafe { std::ptr::from_mut(to).write_volatile(byte) }
}
