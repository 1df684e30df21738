//! The pre-forked server, by itself and with a client of ours.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot_tests::{DEADLINE, eventually, parent_of, runs, within};

use crate::built::{Running, example, output_of};

const KILLED: &str = " ended, signal: 9 (SIGKILL): starting another";

#[test]
fn it_answers_all_requests_while_its_workers_are_killed() {
    let said = output_of("prefork_server");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 7, "{said}");
    assert!(lines[0].starts_with("serving on http://127.0.0.1:"), "{said}");
    assert!(lines[0].ends_with("/ with 4 workers"), "{said}");
    let killed: BTreeSet<_> =
        lines[1..5].iter().map(|line| line.strip_suffix(KILLED).expect("one was killed")).collect();
    assert_eq!(killed.len(), 4, "{said}");
    // One client, so a worker that is killed takes one request with it at most.
    let again = lines[5]
        .strip_prefix("200 requests answered meanwhile, ")
        .and_then(|line| line.strip_suffix(" of them sent again"));
    assert!(again.unwrap().parse::<u32>().unwrap() <= 4, "{said}");
    assert_eq!(lines[6], "200 requests answered afterwards, all by new workers");
}

/// The worker that answered.
fn get(address: &str) -> u32 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /some/page HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{answer}");
    body.trim().strip_prefix("hello from worker ").unwrap().parse().unwrap()
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

#[test]
fn it_serves_at_an_address_until_it_is_ended() {
    within(DEADLINE, || {
        let server = Command::new(example("prefork_server"))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Running(server);
        let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first
            .strip_prefix("serving on http://")
            .and_then(|line| line.strip_suffix("/ with 4 workers"))
            .unwrap_or_else(|| panic!("{first}"));

        let worker = get(address);
        let template = parent_of(worker).unwrap();
        signal(worker, Signal::SIGKILL);
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line, format!("worker {worker}{KILLED}"));
        let other = get(address);
        assert_ne!(other, worker);

        // To the main program only, as a service manager would. All go with it. (SIGINT
        // may be ignored in a test run in the background of a shell.)
        signal(server.0.id(), Signal::SIGTERM);
        assert!(!server.0.wait().unwrap().success());
        eventually(DEADLINE, "worker and template are gone", || !runs(other) && !runs(template));
        // The other workers, of which nothing is known here, hold the listener as well.
        let listens = || TcpStream::connect(address).is_ok();
        eventually(DEADLINE, "nobody listens any more", || !listens());
    });
}
