//! Init functions of shapes that there are not, or for other states.

use offshoot::{Context, RunArgs};

fn text() -> String {
    String::new()
}

fn number_first(_: u32, _: RunArgs) -> u32 {
    0
}

fn of_other_events(_: RunArgs, _: u32, _: &Context<String>) -> u32 {
    0
}

fn too_much(_: RunArgs, _: u32, _: &Context<u32>, _: u32) -> u32 {
    0
}

#[offshoot::worker(init = text)]
fn other_state(_: &mut u32) {}

#[offshoot::worker(init = number_first)]
fn other_order(_: &mut u32) {}

#[offshoot::worker(init = of_other_events)]
fn other_events(_: &mut u32, _: &Context<u32>) {}

#[offshoot::worker(init = too_much)]
fn too_many(_: &mut u32, _: &Context<u32>) {}

#[offshoot::worker(init = nowhere::to_be_found)]
fn no_such_function(_: &mut u32) {}

fn main() {}
