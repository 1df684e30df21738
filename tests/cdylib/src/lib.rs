//! A shared library in which `offshoot` can do nothing: the program is somebody
//! else's. It has entries and the opt-in all the same, as a crate may that is built
//! as a program and as a library.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char};

use offshoot::{Process, Start};

offshoot::early!();

#[offshoot::entry]
fn never(_: Start) {}

/// Tries every way to make a process; what came of it, a line each. The caller owns
/// the string (and may leak it).
#[unsafe(no_mangle)]
pub extern "C" fn offshoot_cdylib_try() -> *mut c_char {
    let said = |what: &str, result: Result<(), offshoot::Error>| match result {
        Ok(()) => format!("{what}: worked\n"),
        Err(error) => format!("{what}: unsupported={} {error}\n", error.is_unsupported()),
    };
    let mut text = said("new", Process::new().and_then(|p| p.run(never)).map(|_| ()));
    text += &said("new_exec", Process::new_exec().map(|_| ()));
    text += &said("snapshot", Process::snapshot().map(|_| ()));
    text += &format!("road: {:?}\n", offshoot::doctor().road);
    CString::new(text).unwrap_or_default().into_raw()
}
