//! What the programs of this package play, each by its name: every scene in every
//! program, whichever way its processes are made.

mod by_kernel;
mod capabilities;
mod daemon;
mod daemon_calls;
mod daemon_crowd;
mod daemon_streams;
mod death;
mod file_limit;
mod interrupted;
mod kills;
mod lacking;
mod leftovers;
mod namespaces;
mod privileges;
mod refused;
mod roads;
mod snapshots;
mod stealing;
mod strangers;
mod terminal;
mod titles;
mod variables;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::thread;

use offshoot::{Args, Child, Process, Start};
use offshoot_tests::parent_of;
use offshoot_tests::program::Watched;

/// Plays the scene that the first argument names.
pub(crate) fn play() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("", String::as_str);
    let all = [
        by_kernel::SCENES,
        capabilities::SCENES,
        daemon::SCENES,
        daemon_calls::SCENES,
        daemon_crowd::SCENES,
        daemon_streams::SCENES,
        death::SCENES,
        file_limit::SCENES,
        interrupted::SCENES,
        kills::SCENES,
        lacking::SCENES,
        leftovers::SCENES,
        namespaces::SCENES,
        privileges::SCENES,
        refused::SCENES,
        roads::SCENES,
        snapshots::SCENES,
        stealing::SCENES,
        strangers::SCENES,
        terminal::SCENES,
        titles::SCENES,
        variables::SCENES,
    ];
    match all.iter().copied().flatten().find(|(n, _)| *n == name) {
        Some((_, scene)) => scene(&args[1..]),
        None => panic!("there is no scene `{name}`"),
    }
}

type Scene = (&'static str, fn(&[String]));

/// Says who is where: name, own pid, and parent's.
fn at(name: &str) {
    println!("at {name} {} {}", std::process::id(), nix::unistd::getppid());
}

/// Waits for a line from the test; whether one came.
fn await_line() -> bool {
    // Byte by byte: what is behind the line may be for another process.
    std::io::stdin().lock().read_until(b'\n', &mut Vec::new()).is_ok_and(|n| n > 0)
}

/// Stays as long as the test does not hang up.
fn hold() {
    while await_line() {}
}

fn for_ever() -> ! {
    loop {
        thread::park();
    }
}

/// A pipe to give a process as its output, and to read its lines from.
fn pipe() -> (BufReader<File>, File) {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    (BufReader::new(File::from(read)), File::from(write))
}

/// The pid in the `at` line that comes next.
fn next_at(from: &mut impl BufRead) -> u32 {
    let mut line = String::new();
    from.read_line(&mut line).expect("it is text");
    let pid = line.split_whitespace().nth(2).unwrap_or_else(|| panic!("no `at` line: `{line}`"));
    pid.parse().expect("a pid")
}

/// Runs `stay` in a process.
fn staying(process: Process) -> Child {
    process.run(stay_quietly).expect("it runs")
}

/// The template that a running process was forked from.
fn template_of(child: &Child) -> Watched {
    Watched::new(parent_of(child.id().expect("it runs")).expect("it runs"))
}

/// A process is made, does something and ends well.
fn works(process: Process) {
    let child = process.send_arg("hello").run(echo).expect("it runs");
    let mut said = String::new();
    child.stream().read_to_string(&mut said).expect("it is text");
    assert_eq!(said, "hello");
    assert!(child.wait().expect("its status is told").success());
}

/// Writes its arguments to its stream.
#[offshoot::entry]
fn echo(mut start: Start) -> std::io::Result<()> {
    start.args.iter().try_for_each(|arg| start.stream.write_all(arg))
}

/// Says where it is, and stays.
#[offshoot::entry]
fn stay(_start: Start) {
    at("stay");
    for_ever();
}

/// Stays, saying nothing.
#[offshoot::entry]
fn stay_quietly(_start: Start) {
    for_ever();
}

/// Stays until its stream is closed.
#[offshoot::entry]
fn until_closed(mut start: Start) -> std::io::Result<()> {
    start.stream.read_to_end(&mut Vec::new()).map(|_| ())
}

/// Answers each line of the input, in which all processes of a program share.
#[offshoot::entry]
fn answer(_start: Start) {
    at("answer");
    while await_line() {
        println!("answer");
    }
}

/// Does nothing, but makes a process of its own of a template.
#[offshoot::setup]
fn touch(_args: Args) {}

/// Says where it is, and never comes back.
#[offshoot::setup]
fn never_ends(_args: Args) {
    at("never_ends");
    for_ever();
}
