//! A tokio program that awaits the calls of a worker, which is an `async fn`.
//!
//! The worker has a runtime of its own, in its process: a client that crashes it, leaks in
//! it or blocks it does nothing to this program. Needs the feature `tokio`; to await calls
//! alone, of whatever worker, none is needed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use offshoot::{Context, Process};

/// What all calls have in common: they are tasks of one thread.
#[derive(Default)]
struct Office {
    visitors: Cell<u32>,
}

#[offshoot::worker(init = Office::default)]
async fn greet(office: Rc<Office>, cx: Context<String>, name: String, patience: u64) -> String {
    office.visitors.set(office.visitors.get() + 1);
    cx.event(&format!("{name} comes in"));
    tokio::time::sleep(Duration::from_millis(patience)).await;
    format!("hello, {name}: {} came while you were here", office.visitors.get())
}

/// Awaits what can be awaited of tokio's, in a process of its own.
#[offshoot::worker]
async fn never() {
    std::future::pending().await
}

// The template is forked before the runtime is there, so either order of these is fine.
#[offshoot::main]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rpc = Process::new()?.rpc(greet).on_event(|line| println!("{line}")).start()?;
    // Both run at once; the second is answered first.
    let slow = rpc.call(("Ada".into(), 800));
    let quick = rpc.call(("Grace".into(), 400));
    let (slow, quick) = tokio::try_join!(slow, quick)?;
    println!("{slow}");
    println!("{quick}");

    let call = Process::new()?.rpc(never).timeout(Duration::from_millis(50)).start()?.call(());
    println!("{}", call.await.expect_err("it cannot return"));

    Ok(())
}
