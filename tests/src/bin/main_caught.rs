//! Plays the scenes in a program with `#[offshoot::main]`.

#[path = "../scenes/mod.rs"]
mod scenes;

#[offshoot::main]
fn main() {
    scenes::play();
}
