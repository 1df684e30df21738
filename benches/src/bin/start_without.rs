//! Does nothing, and knows nothing of the library.

fn main() {}
