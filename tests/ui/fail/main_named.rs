//! `main` has nothing to be named by.

#[offshoot::main(name = "main")]
fn main() {}
