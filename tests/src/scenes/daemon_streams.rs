//! A daemon, and where it and its workers write to.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;

use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, setgid, setgroups, setuid};
use offshoot::{Process, Start};
use offshoot_tests::program::Watched;

use super::daemon::become_daemon;
use super::{Scene, touch};

pub(super) const SCENES: &[Scene] = &[("daemon_streams", daemon_streams)];

/// Says who it is.
#[offshoot::entry]
fn says(start: Start) {
    println!("{}", String::from_utf8_lossy(&start.args[0]));
}

fn new() -> Process {
    Process::new().expect("processes can be made")
}

fn open(path: &Path) -> File {
    OpenOptions::new().write(true).create(true).truncate(false).open(path).expect("it can be")
}

fn redirect(dir: &Path) {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    dup2_stdin(&null).expect("it can be set");
    dup2_stderr(&null).expect("it can be set");
    dup2_stdout(open(&dir.join("log"))).expect("it can be set");
}

/// Templates that are made before the fork: one as it comes, one that writes elsewhere by
/// a step, one by what its setup function does.
fn templates(dir: &Path) -> [(&'static str, Process); 3] {
    let given = new().stdout(open(&dir.join("given"))).setup(touch, [""; 0]);
    let set = new().setup(sets_stdout, [dir.join("set").as_os_str().as_encoded_bytes()]);
    let made = |name, process: Process| (name, process.fork().expect("it can be forked"));
    [made("plain", new().setup(touch, [""; 0])), made("given", given), made("set", set)]
}

#[offshoot::setup]
fn sets_stdout(args: offshoot::Args) {
    dup2_stdout(open(Path::new(&args.text()[0]))).expect("it can be set");
}

/// The daemon lives as long as its leash is held, and runs workers for each line of it.
fn daemon_streams(args: &[String]) {
    let (mode, dir) = (args[0].clone(), args[1].clone());
    let started = Watched::new(std::process::id());
    let before = if mode == "before" { Some(templates(Path::new(&dir))) } else { None };
    become_daemon(move || {
        let dir = Path::new(&dir);
        if !["stays", "drops"].contains(&mode.as_str()) {
            redirect(dir);
        }
        let leash = BufReader::new(File::open(dir.join("leash")).expect("it is held"));
        assert!(started.gone_within(offshoot_tests::DEADLINE));
        if mode.ends_with("drops") {
            setgroups(&[]).expect("root can");
            setgid(Gid::from_raw(65534)).expect("root can");
            setuid(Uid::from_raw(65534)).expect("root can");
        }
        for _ in leash.lines() {
            let before = before.iter().flatten();
            let forked = before.map(|(name, p)| (*name, p.fork().expect("it can be forked")));
            for (name, process) in forked.chain([("default", new())]) {
                let child = process.send_arg(name).run(says).expect("it runs");
                assert!(child.wait().expect("its status is told").success());
            }
            if mode == "leaves_and_drops" {
                println!("done");
            }
        }
    });
}
