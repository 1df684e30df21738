//! A registered function is still a function: it can be called in this process, and
//! carries its attributes, visibility and documentation.
#![deny(warnings)]

use offshoot::{Args, Process, Setup, Start};

mod inner {
    #[deprecated = "call the other one"]
    #[offshoot::setup]
    pub(crate) fn old(_: offshoot::Args) {}

    #[cfg(any())]
    #[offshoot::entry]
    fn switched_off(_: NoSuchType) {}

    #[offshoot::setup]
    #[cfg(any())]
    fn switched_off_below(_: NoSuchType) {}

    #[offshoot::setup]
    #[inline]
    pub(crate) fn load(args: offshoot::Args) -> Result<(), String> {
        Err(args.text().join("+"))
    }
}

#[allow(deprecated)]
const OLD: Setup<()> = inner::old;

/// Calls another one, as the function that it was.
#[offshoot::setup]
fn both(args: Args) -> Result<(), String> {
    OLD(args.clone());
    inner::load(args)
}

#[offshoot::entry]
fn unreached(_: Start) {}

#[offshoot::main]
fn main() -> Result<(), offshoot::Error> {
    let _: fn(Args) -> Result<(), String> = *inner::load;
    assert!(OLD.name().ends_with("::inner::old"));
    let error = Process::new()?.setup(both, ["a", "b"]).run(unreached).unwrap_err();
    assert!(error.is_setup() && error.to_string().contains("a+b"), "{error}");
    Ok(())
}
