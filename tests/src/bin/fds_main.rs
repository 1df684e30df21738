//! Its template is caught at the top of main.

#[path = "scenarios/fds.rs"]
mod fds;

#[offshoot::main]
fn main() {
    fds::main();
}
