//! Registers a worker and an entry under one name: a process that is told to run that could
//! not know which. It must not get as far as main.

#[offshoot::worker(name = "the same")]
fn worker() {}

#[offshoot::entry(name = "the same")]
fn entry(_: offshoot::Start) {}

#[offshoot::main]
fn main() {
    println!("{} and {} got as far as main", worker.name(), entry.name());
}
