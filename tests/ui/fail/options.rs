//! Options that there are not, and names that are none.
#![allow(unused_imports)]

use offshoot::{Args, Start};

#[offshoot::entry(nmae = "app::serve")]
fn misspelt(_: Start) {}

#[offshoot::entry(name = "")]
fn empty(_: Start) {}

#[offshoot::entry(name)]
fn no_value(_: Start) {}

#[offshoot::entry(name = 7)]
fn number(_: Start) {}

#[offshoot::entry("app::serve")]
fn bare(_: Start) {}

#[offshoot::entry(crate = "offshoot")]
fn path_as_string(_: Start) {}

#[offshoot::setup(nmae = "app::load")]
fn misspelt_setup(_: Args) {}

#[offshoot::setup(name = "")]
fn empty_setup(_: Args) {}

fn main() {}
