//! What goes to another process has to be a value that can be written and read: the
//! compiler points at the type that cannot.

use offshoot::Context;
use serde::{Deserialize, Serialize};

struct Plain;

#[derive(Serialize)]
struct OneWay;

#[derive(Serialize, Deserialize)]
struct Fine;

#[offshoot::worker]
fn argument(_: Plain) {}

#[offshoot::worker]
fn one_of_several(_: Fine, _: Plain, _: Fine) {}

#[offshoot::worker]
fn result() -> Plain {
    Plain
}

#[offshoot::worker]
fn error() -> Result<Fine, std::io::Error> {
    Ok(Fine)
}

#[offshoot::worker]
fn event(_: &Context<Plain>) {}

#[offshoot::worker]
fn cannot_be_read(_: OneWay) {}

#[offshoot::worker(codec = offshoot::Octets)]
fn not_octets(_: Fine) {}

fn main() {}
