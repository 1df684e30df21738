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

#[offshoot::worker(name = "add", crate = offshoot_downstream::offshoot)]
fn add(cx: &offshoot::Context<u32>, a: u32, b: u32) -> u32 {
    cx.event(&PREPARED.load(Ordering::Relaxed));
    a + b
}

#[offshoot::main(crate = offshoot_downstream::offshoot)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut told = String::new();
    let child = Process::new()?.setup(prepare, ["42"]).run(tell)?;
    child.stream().read_to_string(&mut told)?;
    assert!(child.wait()?.success());
    let bad = Process::new()?.setup(prepare, ["many"]).run(tell).expect_err("not a number");
    assert!(bad.is_setup(), "{bad}");
    let rpc = Process::new()?.setup(prepare, ["43"]).rpc(add).start()?;
    let prepared = rpc.events();
    println!("2 + 3 = {}, prepared {}", rpc.call((2, 3)).wait()?, prepared.recv()?);
    println!("{:?}; {told}", offshoot::doctor().road);
    println!("{:?}", offshoot::doctor().entries);
    Ok(())
}
