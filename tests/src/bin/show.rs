//! A program to be executed: tells about itself.

use std::io::{Read, Write};

fn main() {
    print!("{}", offshoot_tests::report::of_this_process());
    // Told to wait, it stays until its standard input ends.
    if std::env::args().nth(1).as_deref() == Some("wait") {
        std::io::stdout().flush().expect("somebody reads it");
        let _ = std::io::stdin().read(&mut [0]);
    }
}
