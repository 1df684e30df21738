//! What processes hold: written to a report, because the standard streams may be
//! closed. Shared by programs that make their processes on different roads.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use offshoot::{Args, Child, Process, Start};
use offshoot_tests::open_fds;
use offshoot_tests::proc::{fds_of, inheritable, target};

/// What every worker prints, once on each of its standard streams.
const NOISE: &str = "printed by a worker";
const THREADS: usize = 8;
const EACH: usize = 6;

/// Says what it holds that it should not, and where its standard streams lead, once
/// it is told to go on.
#[offshoot::entry]
fn survey(mut start: Start) -> io::Result<()> {
    println!("{NOISE}");
    eprintln!("{NOISE}");
    start.stream.read_to_end(&mut Vec::new())?;
    start.stream.write_all(holdings(&start).as_bytes())
}

fn holdings(start: &Start) -> String {
    let sent = start.fds.iter().map(AsRawFd::as_raw_fd);
    let given: Vec<i32> = sent.chain([start.stream.as_raw_fd()]).collect();
    let found = open_fds();
    let of = |fd: &i32| format!("{fd}: {}", target(*fd));
    let extra: Vec<_> = found.iter().filter(|fd| **fd > 2 && !given.contains(fd)).map(of).collect();
    let missing: Vec<_> = (0..3).filter(|fd| !found.contains(fd)).collect();
    let inherited: Vec<_> = given.iter().filter(|fd| inheritable(**fd)).collect();
    format!(
        "sent={} extra={extra:?} missing={missing:?} inheritable={inherited:?} std={},{},{}",
        start.fds.len(),
        target(0),
        target(1),
        target(2)
    )
}

/// Surveys a process of its own making.
#[offshoot::entry]
fn survey_of_its_own(mut start: Start) -> Result<(), Box<dyn std::error::Error>> {
    let child = Process::new()?.send_fd(&start.stream).run(survey)?;
    Ok(start.stream.write_all(answer(&child).as_bytes())?)
}

/// Opens something, as a setup function that loads things does, and closes it.
#[offshoot::setup]
fn load(_: Args) -> io::Result<()> {
    println!("{NOISE}");
    eprintln!("{NOISE}");
    File::open("/proc/self/status")?.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Everything that a worker has said on its stream, after it was told to go on.
fn answer(child: &Child) -> String {
    let mut said = String::new();
    child.stream().shutdown(Shutdown::Write).expect("the stream is there");
    child.stream().read_to_string(&mut said).expect("it says text");
    assert!(child.wait().expect("it has run").success(), "{said}");
    said
}

fn some_fd() -> OwnedFd {
    File::open("/dev/zero").expect("it is there").into()
}

fn siblings(template: &Process, sent: usize) -> Vec<String> {
    let start = |_| {
        let process = (0..sent).fold(template.fork().unwrap(), |p, _| p.send_fd(some_fd()));
        process.run(survey).unwrap()
    };
    thread::scope(|s| {
        let makers: Vec<_> =
            (0..THREADS).map(|_| s.spawn(|| (0..EACH).map(start).collect::<Vec<_>>())).collect();
        // All are there before the first is asked.
        let children: Vec<_> = makers.into_iter().flat_map(|m| m.join().unwrap()).collect();
        children.iter().map(answer).collect()
    })
}

/// The descriptors of the template that made `child`: nothing of what was sent
/// through it may have stayed there.
fn template_of(child: &Child) -> String {
    let template = offshoot_tests::parent_of(child.id().unwrap()).unwrap();
    answer(child);
    let mut others: Vec<_> = fds_of(template)
        .into_iter()
        .filter(|(fd, _)| *fd > 2)
        .map(|(_, target)| {
            let known = ["socket", "pidfd"].into_iter().find(|kind| target.contains(kind));
            known.map_or(target, str::to_owned)
        })
        .collect();
    others.sort();
    others.join(" ")
}

/// The descriptors of a program that was executed with two sent to it.
fn executed() -> String {
    let list = "n=0; while [ $n -lt 300 ]; do
        [ -e /proc/$$/fd/$n ] && printf '%s ' $n; n=$((n+1)); done";
    let (mut reader, writer) = io::pipe().unwrap();
    let two = Process::new().unwrap().send_fd(some_fd()).stdout(writer).send_fd(some_fd());
    let child = two.exec(["/bin/sh", "-c", list]).unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    said
}

/// One line for each process: its name, how many were sent to it, what it said.
pub(crate) fn all() -> String {
    // Open without close-on-exec, as a C library might have it.
    let careless = nix::unistd::dup(some_fd()).unwrap();
    assert!(inheritable(careless.as_raw_fd()));

    let mut report = String::new();
    let mut line = |name: &str, said: &str| report += &format!("{name} {said}\n");

    line("0 one", &answer(&Process::new().unwrap().run(survey).unwrap()));
    for said in siblings(&Process::new().unwrap(), 2) {
        line("2 sibling", &said);
    }
    let grown = Process::new().unwrap().setup(load, ["a"]);
    for said in siblings(&grown, 1) {
        line("1 sibling from a template with setup", &said);
    }
    let fork = grown.fork().unwrap().send_fd(some_fd()).setup(load, ["b"]);
    let deep = fork.fork().unwrap().setup(load, ["c"]).send_fd(some_fd());
    for said in siblings(&deep, 1) {
        line("3 fork of a fork of a fork", &said);
    }
    line("2 run at last", &answer(&deep.run(survey).unwrap()));
    line("1 run after its forks", &answer(&fork.run(survey).unwrap()));
    line("0 run after its forks", &answer(&grown.run(survey).unwrap()));

    let socket = Process::new().unwrap().send_fd(some_fd()).into_fd().unwrap();
    let handed = Process::from_fd(socket).unwrap();
    line("2 handed over", &answer(&handed.send_fd(some_fd()).run(survey).unwrap()));
    line("1 made by a worker", &answer(&Process::new().unwrap().run(survey_of_its_own).unwrap()));

    line("executed", &executed());
    line(
        "template",
        &template_of(&Process::new().unwrap().send_fd(some_fd()).run(survey).unwrap()),
    );
    let grown = Process::new().unwrap().send_fd(some_fd()).setup(load, ["a"]);
    let of_grown = grown.fork().unwrap().send_fd(some_fd()).run(survey).unwrap();
    line("template with one queued", &template_of(&of_grown));
    report
}

/// The parent's own descriptors that a program which it executes would inherit, when
/// it has one of everything that this library makes. 0 to 2 are to be.
pub(crate) fn inheritable_here() -> String {
    let child = Process::new().unwrap().run(survey).unwrap();
    let grown = Process::new().unwrap().setup(load, ["a"]);
    let of_grown = grown.fork().unwrap().run(survey).unwrap();
    let receiver = child.exited_receiver();
    let socket = Process::new().unwrap().into_fd().unwrap();
    let pidfd = child.pidfd().unwrap();
    let open = open_fds();
    for ours in [child.stream().as_raw_fd(), socket.as_raw_fd(), pidfd.as_raw_fd()] {
        assert!(open.contains(&ours));
    }
    let inherited: BTreeSet<i32> = open.into_iter().filter(|fd| inheritable(*fd)).collect();
    answer(&child);
    answer(&of_grown);
    assert!(receiver.recv().unwrap().unwrap().success());
    format!("{inherited:?}")
}

/// Runs the scenario that the arguments name, and writes its report.
pub(crate) fn main() {
    let args: Vec<String> = std::env::args().collect();
    println!("{NOISE}");
    let report = match args[2].as_str() {
        "all" => all(),
        "inheritable" => inheritable_here(),
        other => panic!("no scenario {other}"),
    };
    std::fs::write(&args[1], report).expect("the report can be written");
}
