//! Methods have no value to be called on over there; other items are no functions.
#![allow(unused_imports)]

use offshoot::{Args, Start};

struct Server;

impl Server {
    #[offshoot::entry]
    fn by_reference(&self, _: Start) {}

    #[offshoot::entry]
    fn by_value(self, _: Start) {}

    #[offshoot::setup]
    fn boxed(self: Box<Self>, _: Args) {}
}

#[offshoot::entry]
struct NoFunction;

#[offshoot::setup]
const NEITHER: u32 = 1;

trait Serve {
    #[offshoot::entry]
    fn no_body(_: Start);
}

fn main() {}
