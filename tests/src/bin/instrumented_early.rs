//! Uses everything, in a program whose template serves from the constructor.

#[path = "../workout.rs"]
mod workout;

offshoot::early!();

fn main() -> Result<(), offshoot::Error> {
    workout::run()
}
