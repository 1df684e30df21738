//! Other names, and another way to the library.

use offshoot_downstream::offshoot as handed_on;

mod around {
    pub mod the_corner {
        pub use ::offshoot::*;
    }
}

#[offshoot::entry(name = "first name")]
fn first(_: handed_on::Start) {}

#[handed_on::entry(crate = offshoot_downstream::offshoot, name = "second name")]
fn second(_: handed_on::Start) {}

#[around::the_corner::setup(name = "third", crate = crate::around::the_corner)]
fn third(_: handed_on::Args) {}

// The same name is no clash where one is an entry and one a setup function.
#[offshoot::setup(name = "first name")]
fn fourth(_: handed_on::Args) {}

#[handed_on::main(crate = handed_on)]
fn main() -> Result<(), handed_on::Error> {
    assert_eq!((first.name(), second.name(), third.name()), ("first name", "second name", "third"));
    let process = handed_on::Process::new()?.setup(third, [""]).setup(fourth, [""]);
    assert!(process.run_named("second name")?.wait()?.success());
    Ok(())
}
