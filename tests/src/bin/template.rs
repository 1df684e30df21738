//! A program that takes snapshots of itself, and one that executes itself anew.

use std::io::{Read, Write};
use std::sync::Mutex;

use offshoot::{Process, Start};
use offshoot_tests::probe::template_of;

static STATE: Mutex<&str> = Mutex::new("unset");

#[offshoot::entry]
fn tell(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(STATE.lock().unwrap().as_bytes())
}

#[offshoot::entry]
fn linger(mut start: Start) {
    let _ = start.stream.read(&mut [0]);
}

fn set(state: &'static str) {
    *STATE.lock().unwrap() = state;
}

fn print(process: Process) {
    let child = process.run(tell).unwrap();
    let mut said = String::new();
    child.stream().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    println!("{said}");
}

fn snapshot() {
    set("before");
    let first = Process::snapshot().unwrap();
    set("between");
    let second = Process::snapshot().unwrap();
    set("after");
    print(first.fork().unwrap());
    print(first.fork().unwrap());
    print(second);
    print(first);
}

fn new_exec() {
    let [a, b] = [(), ()].map(|()| Process::new_exec().unwrap());
    let [x, y] = [&a, &b].map(|p| p.fork().unwrap().run(linger).unwrap());
    let z = a.fork().unwrap().run(linger).unwrap();
    assert_eq!(template_of(&x), template_of(&z));
    assert_ne!(template_of(&x), template_of(&y));
    set("after");
    print(a);
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("snapshot") => snapshot(),
        Some("new_exec") => new_exec(),
        other => panic!("no such scenario: {other:?}"),
    }
}
