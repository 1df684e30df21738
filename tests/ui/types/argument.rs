//! An entry takes a `Start`, a setup function `Args`.

use offshoot::{Args, Start};

#[offshoot::entry]
fn number(_: u32) {}

#[offshoot::entry]
fn args_to_entry(_: Args) {}

#[offshoot::setup]
fn start_to_setup(_: Start) {}

fn main() {}
