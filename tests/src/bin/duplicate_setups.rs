//! Registers two setup functions under one name: it must not get as far as main.

use offshoot::Args;

#[offshoot::setup(name = "the same")]
fn one(_: Args) {}

#[offshoot::setup(name = "the same")]
fn another(_: Args) {}

#[offshoot::main]
fn main() {
    println!("{} and {} got as far as main", one.name(), another.name());
}
