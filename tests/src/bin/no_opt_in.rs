//! Plays the scenes in a program that has not opted in.

#[path = "../scenes/mod.rs"]
mod scenes;

fn main() {
    scenes::play();
}
