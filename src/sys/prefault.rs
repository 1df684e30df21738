//! Code that is in a process's page table before it runs: a fork begins without it, and
//! each first look at a page of it costs more than a microsecond.

use std::ffi::{c_int, c_void};

/// More than this is not looked through: it would take milliseconds, and not all of it may
/// be in memory.
const MOST: usize = 32 << 20;
const PAGE: usize = 4096;
const MADV_POPULATE_READ: c_int = 22;

/// Maps the code of this program and of its libraries (Linux 5.14 and later).
pub(crate) fn code() {
    // SAFETY: it calls `each` with descriptions of what is loaded, and no other data.
    unsafe { libc::dl_iterate_phdr(Some(each), std::ptr::null_mut()) };
}

unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the loader's description of an object, valid for as long as this call takes.
    let info = unsafe { &*info };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: so many headers lie there, by the same description.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    for header in headers {
        let size = header.p_memsz as usize;
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 && size <= MOST {
            let from = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
            let start = from & !(PAGE - 1);
            // SAFETY: changes nothing that can be seen; where it does not work (an older
            // kernel, the vDSO) it does nothing.
            unsafe { libc::madvise(start as *mut _, size + from - start, MADV_POPULATE_READ) };
        }
    }
    0
}
