//! Options of workers that there are not, and values that they do not have.

#[offshoot::worker(nmae = "app::work")]
fn misspelt() {}

#[offshoot::worker(name = "")]
fn empty() {}

#[offshoot::worker(init)]
fn no_value() {}

#[offshoot::worker(init = || 5)]
fn closure(_: &mut u32) {}

#[offshoot::worker(codec = "Json")]
fn codec_as_string() {}

#[offshoot::worker(init = zero, init = zero)]
fn twice(_: &mut u32) {}

#[offshoot::worker("app::work")]
fn bare() {}

fn main() {}
