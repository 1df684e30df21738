//! Plays the scenes in a program whose early template serves from the hook.

#[path = "../scenes/mod.rs"]
mod scenes;

offshoot::early!();

fn main() {
    scenes::play();
}
