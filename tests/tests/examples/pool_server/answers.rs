//! Each answer of the service, brought about.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use offshoot_tests::{DEADLINE, parent_of, run_command, within};

use super::client::{Server, ask, idle_worker, picture, picture_of, post, stats, until};
use crate::built::{example, root};

#[test]
fn pictures_are_answered_by_thumbnails_and_the_rest_by_the_truth() {
    within(DEADLINE, || {
        let server = Server::start(&[]);
        let at = &*server.address;
        let good = post(at, &picture());
        assert!(good.head.contains("content-type: image/jpeg"), "{}", good.head);
        let thumbnail = image::load_from_memory(&good.body).unwrap();
        assert_eq!((good.status, thumbnail.width(), thumbnail.height()), (200, 160, 80));

        assert_eq!(post(at, b"no picture").status, 422);
        let bomb = fs::read(root().join("examples/data/bad/claims-60000x60000.png")).unwrap();
        assert_eq!(post(at, &bomb).status, 422);
        assert_eq!(post(at, &vec![0; (4 << 20) + 1]).status, 413);
        assert_eq!(ask(at, "GET /thumbnail", b"").status, 405);
        assert_eq!(ask(at, "GET /nothing", b"").status, 404);
        assert!(ask(at, "GET /", b"").body.starts_with(b"POST /thumbnail "));

        let said = stats(at);
        assert_eq!((&said["done"], &said["failed"]["all"]), (&3.into(), &0.into()), "{said}");
        assert!(said["run_ms"]["max"].as_f64().unwrap() > 0.0, "{said}");
        server.signal(Signal::SIGTERM);
        assert_eq!(server.ends(), "ended: 3 calls done, 0 failed, 0 made again\n");
    });
}

#[test]
fn who_finds_the_queue_full_is_told_to_come_again() {
    within(DEADLINE, || {
        let server = Server::start(&["--jobs", "1", "--queue", "1"]);
        let at = &*server.address;
        let worker = idle_worker(at);
        kill(worker, Signal::SIGSTOP).unwrap();
        thread::scope(|scope| {
            let first = scope.spawn(|| post(at, &picture()));
            until(at, "a call is running", |said| said["running"] == 1);
            let second = scope.spawn(|| post(at, &picture()));
            until(at, "a call waits", |said| said["queued"] == 1);
            let third = post(at, &picture());
            assert_eq!(third.status, 503);
            assert!(third.head.contains("retry-after: 1"), "{}", third.head);
            kill(worker, Signal::SIGCONT).unwrap();
            assert_eq!((first.join().unwrap().status, second.join().unwrap().status), (200, 200));
        });
        server.signal(Signal::SIGINT);
        server.ends();
    });
}

#[test]
fn what_takes_too_long_is_ended() {
    within(DEADLINE, || {
        let server = Server::start(&["--jobs", "1", "--timeout", "100"]);
        let at = &*server.address;
        kill(idle_worker(at), Signal::SIGSTOP).unwrap();
        assert_eq!(post(at, &picture()).status, 504);
        let said = until(at, "another worker is there", |said| said["workers"]["idle"] == 1);
        assert_eq!(said["failed"]["timed_out"], 1, "{said}");
    });
}

#[test]
fn a_death_is_made_good_by_another_worker_once() {
    within(DEADLINE, || {
        let server = Server::start(&["--jobs", "1"]);
        let at = &*server.address;
        // Stopped before the call comes, and killed once it has it.
        let begin = |picture| {
            let worker = idle_worker(at);
            kill(worker, Signal::SIGSTOP).unwrap();
            let at = at.to_owned();
            let call = thread::spawn(move || post(&at, picture));
            until(&server.address, "the call is running", |said| said["running"] == 1);
            kill(worker, Signal::SIGKILL).unwrap();
            call
        };
        let picture: &'static [u8] = picture().leak();
        assert_eq!(begin(picture).join().unwrap().status, 200);
        assert_eq!(stats(at)["retried"], 1);
    });
}

/// From now on a process, and what it forks, may have no more than 4 MiB beside what it
/// has.
#[allow(unsafe_code)]
fn limit_memory(pid: u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let kib: u64 = data.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    let bytes = (kib << 10) + (4 << 20);
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: one limit is read, and none is written.
    let done = unsafe {
        libc::prlimit(pid as i32, libc::RLIMIT_DATA, &raw const limit, std::ptr::null_mut())
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn two_deaths_are_told() {
    within(DEADLINE, || {
        let server = Server::start(&["--jobs", "1"]);
        let worker = idle_worker(&server.address);
        // Those that come after this one have less room than the picture takes.
        limit_memory(parent_of(worker.as_raw() as u32).unwrap());
        kill(worker, Signal::SIGKILL).unwrap();
        let answer = post(&server.address, &picture_of(3000));
        assert_eq!(answer.status, 503);
        assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
        let why = String::from_utf8(answer.body).unwrap();
        assert!(why.contains("signal: 6 (SIGABRT)"), "{why}");
        assert_eq!(stats(&server.address)["retried"], 1);
    });
}

/// Workers are killed by the clock, so where all else is slow few live to answer.
const LIMIT: Duration = DEADLINE.saturating_mul(4);

#[test]
fn a_pool_that_breaks_is_no_end() {
    within(LIMIT, || {
        // So often that sooner or later several die in a row before they are ready.
        let server = Server::start(&["--jobs", "1", "--chaos", "1"]);
        let mut has_been_broken = false;
        loop {
            let answer = post(&server.address, &picture());
            match answer.status {
                200 if has_been_broken => break,
                200 => {}
                status => assert_eq!(status, 503),
            }
            has_been_broken |= answer.body.starts_with(b"the pool is broken: ");
        }
        server.signal(Signal::SIGTERM);
        server.ends();
    });
}

#[test]
fn at_its_end_it_answers_what_it_has_been_asked() {
    within(DEADLINE, || {
        let server = Server::start(&["--jobs", "1"]);
        let at = server.address.clone();
        let worker = idle_worker(&at);
        kill(worker, Signal::SIGSTOP).unwrap();
        let asked = at.clone();
        let call = thread::spawn(move || post(&asked, &picture()));
        until(&at, "the call is running", |said| said["running"] == 1);
        server.signal(Signal::SIGTERM);
        while TcpStream::connect(&at).is_ok() {
            thread::yield_now();
        }
        kill(worker, Signal::SIGCONT).unwrap();
        assert_eq!(call.join().unwrap().status, 200);
        assert_eq!(server.ends(), "ended: 1 calls done, 0 failed, 0 made again\n");
    });
}

#[test]
fn a_client_that_does_not_go_on_does_not_keep_it() {
    within(DEADLINE, || {
        let server = Server::start(&[]);
        let mut client = TcpStream::connect(&server.address).unwrap();
        client.write_all(b"POST /thumbnail HTTP/1.1\r\nContent-Length: 10\r\n\r\n").unwrap();
        // Answered, and so after that one has been accepted.
        assert_eq!(post(&server.address, &picture()).status, 200);
        server.signal(Signal::SIGTERM);
        let said = server.ends();
        assert!(said.starts_with("a client has not taken its answer\nended: 1 calls"), "{said}");
    });
}

#[test]
fn wrong_options_are_told() {
    for (args, complaint) in [
        (&["--jobs", "0"][..], "--jobs 0: a whole number, at least 1, is wanted"),
        (&["--chaos"], "--chaos needs a value"),
        (&["--listen", "here"], "--listen here: invalid socket address syntax"),
        (&["--fast"], "there is no option --fast"),
    ] {
        let output = run_command(Command::new(example("pool_server")).args(args));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let expected = format!("pool_server: {complaint}\n\nUsage: pool_server ");
        assert!(said.starts_with(&expected), "{said}");
    }
}
