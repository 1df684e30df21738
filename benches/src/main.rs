//! What processes cost.
fn main() {}
