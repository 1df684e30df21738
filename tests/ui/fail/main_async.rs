//! Somebody has to run the future.

#[offshoot::main]
async fn main() {}
