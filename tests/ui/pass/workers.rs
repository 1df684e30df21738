//! Workers in a crate that forbids unsafe code and warns of nothing, of whatever shape.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused, clippy::all, clippy::pedantic)]

use std::rc::Rc;

use offshoot::{Context, Done, Process, RunArgs};

/// Takes nothing, returns nothing.
#[offshoot::worker]
fn nothing() {}

/// Has a keyword for a name.
#[offshoot::worker]
fn r#match(n: u32) -> u32 {
    n
}

/// Patterns and `mut` are arguments too.
#[offshoot::worker]
fn patterns(mut x: u32, (a, b): (u32, u32), [c, ..]: [u32; 3], _: u32, _unused: String) -> u32 {
    x += 1;
    x + a + b + c
}

/// Something of each.
#[offshoot::worker(init = start, done = end)]
fn with_all(n: u64, cx: &Context<String>, state: &mut u64, more: Option<u64>) -> Result<u64, String> {
    cx.event(&format!("{n}"));
    *state += n + more.ok_or("nothing more")?;
    Ok(*state)
}

fn start(_: RunArgs, from: u64, cx: &Context<String>) -> Result<u64, String> {
    cx.event(&String::from("start"));
    Ok(from)
}

fn end() {}

/// Answers later.
#[offshoot::worker]
fn later(n: u64, done: Done<u64>) {
    std::thread::spawn(move || done.complete(n));
}

/// A future.
#[offshoot::worker(init = shared)]
async fn awaited(_: Context<u32>, state: Rc<u64>, n: u64) -> u64 {
    *state + n
}

fn shared() -> u64 {
    40
}

/// A future without a result.
#[offshoot::worker]
async fn awaited_nothing() {}

/// Deprecated, but a worker.
#[deprecated = "call the other one"]
#[offshoot::worker]
pub fn old(n: u32) -> u32 {
    n
}

/// Not there.
#[cfg(any())]
#[offshoot::worker]
fn switched_off(_: NoSuchType) {}

/// Nor is this.
#[offshoot::worker]
#[cfg(any())]
fn switched_off_below(_: NoSuchType) {}

#[allow(deprecated)]
const OLD: offshoot::Worker<fn(u32) -> u32, u32, u32> = old;

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// In a function.
    #[offshoot::worker]
    fn within(n: u32) -> u32 {
        n + 1
    }

    offshoot::spawn(nothing, ())?.wait()?;
    nothing();
    assert_eq!(offshoot::spawn(r#match, 3)?.wait()?, 3);
    assert_eq!(offshoot::spawn(within, 3)?.wait()?, 4);
    assert_eq!(offshoot::spawn(OLD, 5)?.wait()?, 5);
    let args = (1, (2, 3), [4, 5, 6], 7, String::new());
    assert_eq!(offshoot::spawn(patterns, args)?.wait()?, 11);
    let rpc = Process::new()?.rpc(with_all).init(10u64).on_event(|_| {}).start()?;
    assert_eq!(rpc.call((1, Some(2))).wait()?, Ok(13));
    assert!(rpc.call((1, None)).wait()?.is_err());
    rpc.finish()?;
    assert_eq!(offshoot::spawn(later, 6)?.wait()?, 6);
    assert_eq!(offshoot::spawn(awaited, 2)?.wait()?, 42);
    offshoot::spawn(awaited_nothing, ())?.wait()?;
    Ok(())
}
