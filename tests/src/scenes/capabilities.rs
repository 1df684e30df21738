//! Programs that were started with capabilities that do not go with the user: they become
//! another one, and give them up.

use std::io::{Read, Write};

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use offshoot::{Process, Start};

use super::{Scene, pipe, touch, works};

pub(super) const SCENES: &[Scene] = &[("gives_up_capabilities", gives_up)];

const USER: u32 = 4711;
const GROUP: u32 = 4712;

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// The users and the sets of capabilities in a /proc/PID/status.
fn held(status: &str) -> String {
    let names = ["Uid:", "CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
    let all = names.map(|n| status.lines().find(|l| l.starts_with(n)).expect("all have it"));
    all.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).join(", ")
}

fn own() -> String {
    held(&std::fs::read_to_string("/proc/self/status").expect("/proc is mounted"))
}

/// What a process of the user has to have.
fn nothing() -> String {
    let none = "0000000000000000";
    format!(
        "Uid: {USER} {USER} {USER} {USER}, CapInh: {none}, CapPrm: {none}, CapEff: {none}, CapAmb: {none}"
    )
}

#[allow(unsafe_code)]
fn give_up() {
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(GROUP));
    setgroups(&[]).expect("there is the capability");
    setresgid(group, group, group).expect("there is the capability");
    setresuid(user, user, user).expect("there is the capability");
    // Version 3: two words for each of three sets. The ambient set goes with them.
    let (header, sets) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    // SAFETY: the kernel reads a header and the sets that go with its version.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(done, 0, "they can be given up");
}

#[offshoot::entry]
fn holds(mut start: Start) -> std::io::Result<()> {
    write!(start.stream, "{}", own())
}

/// As `holds`; named by `privileged`.
#[offshoot::entry]
fn still_holds(start: Start) -> std::io::Result<()> {
    (*holds)(start)
}

fn said(process: Process, entry: offshoot::Entry<std::io::Result<()>>) -> String {
    let child = process.run(entry).expect("it runs");
    let mut text = String::new();
    child.stream().read_to_string(&mut text).expect("it is text");
    assert!(child.wait().expect("its status is told").success());
    text
}

fn gives_up(_: &[String]) {
    let before = own();
    let template = new().setup(touch, [""; 0]);
    works(template.fork().expect("it can be forked"));
    let executed = Process::new_exec().expect("it is made");
    offshoot::privileged([still_holds]).expect("nothing is given up yet");
    assert_eq!(said(new(), holds), before, "who has not changed the user has what it has");
    give_up();
    assert_ne!(before, nothing());
    assert_eq!(own(), nothing());

    for process in [&template, &executed, &new()] {
        let fork = || process.fork().expect("it can be forked");
        assert_eq!(said(fork(), holds), nothing());
        assert_eq!(said(fork().setup(touch, [""; 0]), holds), nothing());
        let nested = fork().setup(touch, [""; 0]);
        assert_eq!(said(nested.fork().expect("it can be forked"), holds), nothing());
        assert_eq!(said(nested, holds), nothing());
        let (mut status, write) = pipe();
        let cat = fork().stdout(&write).exec(["/bin/cat", "/proc/self/status"]).expect("it runs");
        assert!(cat.wait().expect("its status is told").success());
        drop(write);
        let mut text = String::new();
        status.read_to_string(&mut text).expect("it is text");
        assert_eq!(held(&text), nothing());
    }
    // That was said before, on purpose.
    assert_eq!(said(new(), still_holds), before);
    println!("given up");
}
