//! Everything by way of the crate that hands `offshoot` on, which is not among the
//! dependencies here; in edition 2021, without unsafe code.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use offshoot_downstream::offshoot::{self, Args, Process, Start};

static PREPARED: AtomicU32 = AtomicU32::new(0);

#[offshoot::setup(crate = offshoot_downstream::offshoot)]
fn prepare(args: Args) -> Result<(), std::num::ParseIntError> {
    PREPARED.store(args.text()[0].parse()?, Ordering::Relaxed);
    Ok(())
}

#[offshoot::entry(name = "tell", crate = ::offshoot_downstream::offshoot)]
fn tell(mut start: Start) -> std::io::Result<()> {
    write!(start.stream, "prepared {}", PREPARED.load(Ordering::Relaxed))
}

#[offshoot::main(crate = offshoot_downstream::offshoot)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut told = String::new();
    let child = Process::new()?.setup(prepare, ["42"]).run(tell)?;
    child.stream().read_to_string(&mut told)?;
    assert!(child.wait()?.success());
    let bad = Process::new()?.setup(prepare, ["many"]).run(tell).expect_err("not a number");
    assert!(bad.is_setup(), "{bad}");
    println!("{:?}; {told}", offshoot::doctor().road);
    println!("{:?}", offshoot::doctor().entries);
    Ok(())
}
