//! The one constructor, and running those that come after it.
//!
//! It is placed in the array of constructors by hand, because the address of its
//! slot must be known (see docs/dependencies.md): a template that serves from
//! within the constructor runs the rest of the array itself, or C++ statics,
//! `inventory` and coverage would be missing in every worker.

type Constructor =
    extern "C" fn(libc::c_int, *const *const libc::c_char, *const *const libc::c_char);

// Priority 101 is the first that is not reserved for the implementation: after
// std has noted the program's arguments (99), before every constructor without
// a priority.
#[used]
// SAFETY: the section holds addresses of functions with this very signature, and
// glibc and musl call each of them once, before main.
#[unsafe(link_section = ".init_array.00101")]
static SLOT: Constructor = before_main;

extern "C" fn before_main(
    _argc: libc::c_int,
    _argv: *const *const libc::c_char,
    _envp: *const *const libc::c_char,
) {
    crate::hook::before_main();
}

unsafe extern "C" {
    static __init_array_start: Constructor;
    static __init_array_end: Constructor;
}

/// Calls the constructors that come after ours, which is running.
pub(crate) fn run_rest() {
    let own = &raw const SLOT;
    let start = &raw const __init_array_start;
    let end = &raw const __init_array_end;
    if !(start..end).contains(&own) {
        return;
    }
    let mut slot = own.wrapping_add(1);
    let strings = super::title::start_strings();
    while slot < end {
        // SAFETY: between the linker's two symbols lie the addresses of
        // constructors (0 and -1 are old markers); the C library would call each
        // next, in this order, with these arguments.
        unsafe {
            let address = slot.cast::<usize>().read();
            if address != 0 && address != usize::MAX {
                (slot.read())(strings.argc(), strings.argv(), strings.envp());
            }
        }
        slot = slot.wrapping_add(1);
    }
}
