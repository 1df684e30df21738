//! Plays scenes of pools that need a program of their own: limits, forks, CPU time, death.

#[path = "../pool_scenes/mod.rs"]
mod pool_scenes;

#[offshoot::main]
fn main() {
    pool_scenes::play();
}
