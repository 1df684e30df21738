//! Pools in a crate that forbids unsafe code and warns of nothing: named in a struct, shared
//! by threads, moved to others, kept in a static.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused, clippy::all, clippy::pedantic)]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use offshoot::pool::{Failures, Indexed, Map, MapStream, MapUnordered, PoolBuilder, Request, Stats, Times};
use offshoot::{Call, Context, Pool, Refused};

/// Adds.
#[offshoot::worker]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Tells.
#[offshoot::worker]
fn tell(cx: &Context<String>, n: u32) -> Result<u32, String> {
    cx.event(&n.to_string());
    Ok(n)
}

/// Has two pools.
struct Service {
    sums: Pool<(u64, u64), u64>,
    told: Arc<Pool<u32, Result<u32, String>, String>>,
    waiting: Vec<Call<u64>>,
    last: Option<Stats>,
}

static POOL: OnceLock<Pool<(u64, u64), u64>> = OnceLock::new();

fn shared<T: Send + Sync>() {}
fn sent<T: Send>() {}

fn started(builder: PoolBuilder<(u64, u64), u64>) -> Result<Pool<(u64, u64), u64>, offshoot::Error> {
    builder.max(2).build()
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    type Items = std::vec::IntoIter<(u64, u64)>;
    shared::<Pool<(u64, u64), u64>>();
    shared::<Pool<std::cell::Cell<u8>, std::cell::Cell<u8>, std::cell::Cell<u8>>>();
    shared::<(Stats, Times, Failures)>();
    sent::<PoolBuilder<(u64, u64), u64>>();
    sent::<Request<'_, (u64, u64), u64>>();
    sent::<Refused<(u64, u64)>>();
    sent::<(Map<Items, (u64, u64), u64>, MapUnordered<Items, (u64, u64), u64>)>();
    sent::<MapStream<Indexed<Items, (u64, u64), u64>>>();

    let mut service = Service {
        sums: started(Pool::builder(add))?,
        told: Arc::new(Pool::builder(tell).on_event(|_pid, _text| {}).build()?),
        waiting: Vec::new(),
        last: None,
    };
    service.waiting.push(service.sums.call((1, 2)));
    let pool = Arc::clone(&service.told);
    let told = std::thread::spawn(move || pool.call(5).wait());
    assert_eq!(told.join().unwrap()?, Ok(5));
    for call in service.waiting.drain(..) {
        assert_eq!(call.wait()?, 3);
    }
    service.last = Some(service.sums.finish()?);
    assert_eq!(service.last.map(|stats| stats.done), Some(1));

    let pool = POOL.get_or_init(|| Pool::builder(add).idle(1).build().expect("it can be built"));
    let request = pool.request((2, 3)).priority(-1).timeout(Duration::from_secs(9)).idempotent();
    assert_eq!(request.call().wait()?, 5);
    let sums: Result<Vec<u64>, _> = pool.map(vec![(1, 1), (2, 2)]).collect();
    assert_eq!(sums?, [2, 4]);
    let mut indexed: Vec<usize> = pool.map_unordered([(0, 0); 3]).indexed().map(|(n, _)| n).collect();
    indexed.sort_unstable();
    assert_eq!(indexed, [0, 1, 2]);
    Ok(())
}
