//! An entry returns what `main` may return.

use offshoot::Start;

#[offshoot::entry]
fn number(_: Start) -> u32 {
    7
}

#[offshoot::entry]
fn opaque(_: Start) -> impl Copy {
    7
}

fn main() {}
