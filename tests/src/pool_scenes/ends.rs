//! Programs that end while they have pools, of all kinds and in all states.

use std::io::BufRead;
use std::time::Duration;

use offshoot::{Done, Pool};

use super::{Scene, nap};

pub(super) const SCENES: &[Scene] = &[
    ("until killed", || until_told(|| std::thread::sleep(Duration::MAX))),
    ("until exit", || until_told(|| std::process::exit(0))),
    ("until main returns", || until_told(|| ())),
];

#[offshoot::worker]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

#[offshoot::worker]
fn never(done: Done<()>) {
    std::mem::forget(done);
}

fn never_ready() {
    nap_for_ever()
}

#[offshoot::worker(init = never_ready)]
fn not_even_begun(_: &mut ()) {}

fn nap_for_ever() {
    std::thread::sleep(Duration::MAX);
}

/// A worker that has a pool.
#[offshoot::worker]
fn nest() {
    let pool = Pool::builder(spin).max(2).start(Duration::ZERO).spares(1).build().unwrap();
    let _calls = [pool.call(()), pool.call(())];
    println!("nested");
    nap_for_ever();
}

/// Pools with workers of all kinds; once a line comes, the program ends with them in it.
fn until_told(end: fn()) {
    let idle = Pool::builder(nap).idle(2).spares(2).capture_stderr(true).build().unwrap();
    let busy = Pool::builder(spin).max(2).load(3).start(Duration::ZERO).build().unwrap();
    let calls = [(); 8].map(|()| busy.call(()));
    let open = Pool::builder(never).max(1).load(4).build().unwrap();
    let open_calls = [(); 4].map(|()| open.call(()));
    let unready = Pool::builder(not_even_begun).idle(1).build().unwrap();
    let nested = Pool::builder(nest).build().unwrap();
    let nested_call = nested.call(());
    // It is given up, and has much to do.
    let dropped = Pool::builder(spin).max(1).build().unwrap();
    let left = dropped.call(());
    drop(dropped);
    idle.call(0).wait().unwrap();
    println!("all are there");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    end();
    drop((calls, open_calls, nested_call, left));
    drop((idle, busy, open, unready, nested));
}
