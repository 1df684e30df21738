//! Asks for entries by name, and says whether anything has come of it: it has not
//! opted in, so its first request would start a template.

use std::fs::File;

use offshoot::{Args, Process, Start};
use offshoot_tests::proc::children_of;

#[offshoot::entry]
fn known(_: Start) {}

#[offshoot::setup]
fn prepare(_: Args) {
    panic!("it is not to run");
}

fn say(what: &str) {
    println!("{what}: {} children", children_of(std::process::id()).len());
}

fn main() {
    let zero = File::open("/dev/zero").unwrap();
    let process = Process::new().unwrap().send_arg("x").send_fd(&zero).setup(prepare, ["y"]);
    assert!(process.run_named("unknown_name::unknown").unwrap_err().is_unknown_name());
    say("unknown");
    let child = Process::new().unwrap().run_named(known.name()).unwrap();
    assert!(child.wait().unwrap().success());
    say("known");
}
