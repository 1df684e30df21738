//! A call is checked where it is made.

use offshoot::{Context, Process};

#[offshoot::worker]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[offshoot::worker]
fn tell(cx: &Context<u32>, n: u32) {
    cx.event(&n);
}

fn plain(_: u32) {}

fn main() -> Result<(), offshoot::Error> {
    let rpc = Process::new()?.rpc(add).start()?;
    rpc.call((1, "two"));
    rpc.call(1);
    rpc.call((1, 2, 3));
    let _: String = rpc.call((1, 2)).wait()?;
    offshoot::spawn(add, ())?;
    Process::new()?.rpc(plain);
    Process::new()?.rpc(tell).on_event(|text: String| drop(text));
    Process::new()?.run(add)?;
    add(1);
    Ok(())
}
