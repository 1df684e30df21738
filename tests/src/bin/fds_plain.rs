//! It has not opted in, so its template is executed.

#[path = "scenarios/fds.rs"]
mod fds;

fn main() {
    fds::main();
}
