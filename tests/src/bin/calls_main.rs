//! A supervisor: what it runs in a worker is itself, from `main` on.

use std::sync::atomic::{AtomicBool, Ordering};

use offshoot::{Process, Start};
use offshoot_tests::DEADLINE;
use offshoot_tests::entries::answers;

static IN_WORKER: AtomicBool = AtomicBool::new(false);

#[offshoot::entry]
fn again(_start: Start) {
    IN_WORKER.store(true, Ordering::Relaxed);
    #[allow(clippy::main_recursion, reason = "it is what is tested, and ends there")]
    main();
}

#[offshoot::main]
fn main() {
    if IN_WORKER.load(Ordering::Relaxed) {
        println!("in a worker");
        answers(Process::new().unwrap());
        return;
    }
    let child = Process::new().unwrap().run(again).unwrap();
    let told = child.wait_timeout(DEADLINE / 2).expect("its status is told");
    assert!(told.expect("main returns in a worker").success());
    println!("in the program");
}
