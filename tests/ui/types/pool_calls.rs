//! A call of a pool is checked where it is made.

use std::time::Duration;

use offshoot::{Context, Pool};

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
    let pool = Pool::builder(add).build()?;
    pool.call((1, "two"));
    pool.call(1);
    pool.try_call("one")?;
    pool.request(()).priority(1).call();
    pool.map([1, 2, 3]);
    pool.map_unordered(vec![(1, 2, 3)]);
    pool.broadcast("reload")?;
    let _: String = pool.call((1, 2)).wait()?;
    let _: Pool<u64, u64> = pool;
    Pool::builder(plain);
    Pool::builder(tell).on_event(|n: u32| drop(n));
    Pool::builder(tell).on_event(|_: u32, text: String| drop(text));
    Pool::builder(add).timeout(10);
    Pool::builder(add).start(Duration::ZERO).max("four");
    Ok(())
}
