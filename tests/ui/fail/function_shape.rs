//! What cannot be known to another process by its name alone.
#![allow(unused_imports)]

use offshoot::{Args, Start};

#[offshoot::entry]
fn generic<T: Default>(_: Start) {}

#[offshoot::entry]
fn borrowing<'a>(_: Start) {}

#[offshoot::entry]
fn by_reference(_: &Start) {}

#[offshoot::entry]
unsafe fn not_safe(_: Start) {}

#[offshoot::entry]
extern "C" fn foreign(_: Start) {}

#[offshoot::entry]
async fn later(_: Start) {}

#[offshoot::entry]
fn nothing_taken() {}

#[offshoot::entry]
fn too_much(_: Start, _: u32) {}

#[offshoot::setup]
fn generic_setup<T: Default>(_: Args) {}

#[offshoot::setup]
fn setup_by_reference(_: &Args) {}

#[offshoot::setup]
unsafe fn not_safe_setup(_: Args) {}

#[offshoot::setup]
extern "C" fn foreign_setup(_: Args) {}

#[offshoot::setup]
async fn later_setup(_: Args) -> Result<(), String> {
    Ok(())
}

#[offshoot::setup]
fn nothing_prepared() {}

#[offshoot::setup]
fn two_lists(_: Args, _: Args) {}

fn main() {}
