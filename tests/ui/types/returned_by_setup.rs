//! A setup function returns nothing, or a result whose error can be shown.

use offshoot::Args;

struct Mute;

#[offshoot::setup]
fn number(_: Args) -> u32 {
    7
}

#[offshoot::setup]
fn value(_: Args) -> Result<u32, String> {
    Ok(7)
}

#[offshoot::setup]
fn mute(_: Args) -> Result<(), Mute> {
    Err(Mute)
}

fn main() {}
