//! Only `main` can catch a template.

#[offshoot::main]
fn start() {}

#[offshoot::main]
struct Main;

fn main() {
    start();
}
