//! Descriptors in calls, where that needs a program: its exact set, its limits, its user.

#[path = "../rpc_fds/mod.rs"]
mod scenes;

#[offshoot::main]
fn main() {
    scenes::play();
}
