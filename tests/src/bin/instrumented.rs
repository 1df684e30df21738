//! Uses everything, in a program whose template is caught at the top of `main`.

#[path = "../workout.rs"]
mod workout;

#[offshoot::main]
fn main() -> Result<(), offshoot::Error> {
    workout::run()
}
