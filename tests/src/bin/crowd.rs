//! Makes very many processes.

use std::io::Read;
use std::thread;

use offshoot::{Child, Process, Start};
use offshoot_tests::proc::children_of;
use offshoot_tests::{DEADLINE, eventually, parent_of};

#[offshoot::entry]
fn nothing(_: Start) {}

#[offshoot::entry]
fn until_eof(mut start: Start) {
    let _ = start.stream.read_to_end(&mut Vec::new());
}

#[offshoot::entry]
fn exit_with(start: Start) {
    std::process::exit(i32::from(start.args[0][0]));
}

fn template() -> u32 {
    let child = Process::new().unwrap().run(until_eof).unwrap();
    let template = parent_of(child.id().unwrap()).unwrap();
    drop(child);
    template
}

/// Every other one is told to end by the drop; the others end by themselves.
fn dropped() -> usize {
    for i in 0..5_000 {
        let process = Process::new().unwrap();
        drop(if i % 2 == 0 { process.run(nothing) } else { process.run(until_eof) }.unwrap());
    }
    5_000
}

const THREADS: usize = 8;
const EACH: usize = 1_250;
/// Not waited for at a time, by each thread: streams are descriptors.
const WINDOW: usize = 50;

fn at_once() -> usize {
    let template = Process::new().unwrap();
    thread::scope(|s| {
        for number in 0..THREADS {
            let template = &template;
            s.spawn(move || {
                let check = |(i, child): (usize, Child)| {
                    assert_eq!(child.wait().unwrap().code(), Some(status(number, i)), "{i}");
                };
                let mut open = std::collections::VecDeque::new();
                for i in 0..EACH {
                    let process = template.fork().unwrap().send_arg([status(number, i) as u8]);
                    open.push_back((i, process.run(exit_with).unwrap()));
                    if open.len() == WINDOW {
                        // Now the oldest, now the newest.
                        check(if i % 2 == 0 { open.pop_front() } else { open.pop_back() }.unwrap());
                    }
                }
                open.into_iter().for_each(check);
            });
        }
    });
    THREADS * EACH
}

fn status(thread: usize, i: usize) -> i32 {
    (i * 8 + thread) as i32 % 256
}

#[offshoot::main]
fn main() {
    let template = template();
    let made = match std::env::args().nth(1).as_deref() {
        Some("dropped") => dropped(),
        Some("at-once") => at_once(),
        other => panic!("no scenario {other:?}"),
    };
    // Running ones and zombies.
    eventually(DEADLINE, "all have ended and are reaped", || children_of(template).is_empty());
    println!("{made} made, none left");
}
