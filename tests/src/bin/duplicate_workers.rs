//! Registers two workers under one name: it must not get as far as main.

#[offshoot::worker(name = "the same")]
fn one() {}

#[offshoot::worker(name = "the same")]
fn another() {}

#[offshoot::main]
fn main() {
    println!("{} and {} got as far as main", one.name(), another.name());
}
