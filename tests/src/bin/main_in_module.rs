//! `#[offshoot::main]` on a `main` that is not the program's, as in doc tests.

use offshoot::{Process, Start};

mod example {
    #[offshoot::main]
    pub(super) fn main() {
        println!("example");
    }
}

#[offshoot::entry]
fn works(_: Start) {}

fn main() {
    println!("main, {:?}", offshoot::doctor().road);
    example::main();
    let child = Process::new().and_then(|p| p.run(works)).expect("processes can be made");
    assert!(child.wait().expect("its status is told").success());
}
