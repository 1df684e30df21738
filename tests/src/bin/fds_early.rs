//! Its template serves from the constructor.

#[path = "scenarios/fds.rs"]
mod fds;

offshoot::early!();

fn main() {
    fds::main();
}
