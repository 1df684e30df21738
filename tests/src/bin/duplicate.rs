//! Registers two entries under one name: it must not get as far as main.

use offshoot::Start;

#[offshoot::entry(name = "the same")]
fn one(_: Start) {}

#[offshoot::entry(name = "the same")]
fn another(_: Start) {}

#[offshoot::main]
fn main() {
    println!("{} and {} got as far as main", one.name(), another.name());
}
