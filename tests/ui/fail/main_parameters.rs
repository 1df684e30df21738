//! As the language has it: nothing goes into `main`.

#[offshoot::main]
fn main(_: Vec<String>) {}
