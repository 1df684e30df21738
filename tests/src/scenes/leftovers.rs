//! What a process leaves for its end: text in the buffers of Rust's and of C's stdout, and
//! handlers of atexit(3).

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use offshoot::{Args, Child, Error, Process, Start};

use super::{Scene, pipe, stay_quietly, touch};

pub(super) const SCENES: &[Scene] = &[
    ("text_of_a_setup", text_of_a_setup),
    ("text_before_a_snapshot", text_before_a_snapshot),
    ("text_of_constructors", text_of_constructors),
    ("handlers", handlers),
];

/// Puts a text into both buffers, and no end of a line behind it, at which Rust's is emptied.
#[allow(unsafe_code)]
fn leave(text: &str) {
    print!("rust {text}, ");
    let text = std::ffi::CString::new(format!("c {text}, ")).expect("it has no NUL");
    // SAFETY: a string, as the format says.
    unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
}

#[offshoot::setup]
fn leaves(args: Args) -> Result<(), &'static str> {
    leave(&args.text()[0]);
    if args.len() > 1 { Err("as it was told") } else { Ok(()) }
}

#[offshoot::entry]
fn leaves_too(start: Start) {
    leave(&String::from_utf8_lossy(&start.args[0]));
}

fn ends_well(child: Result<Child, Error>) {
    assert!(child.expect("it runs").wait().expect("its status is told").success());
}

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// Each leaves a text of its own.
fn three_forks(of: &Process, name: &str) {
    for n in 0..3 {
        let fork = of.fork().expect("it can be forked");
        ends_well(fork.send_arg(format!("{name} {n}")).run(leaves_too));
    }
}

fn text_of_a_setup(_: &[String]) {
    let template = new().setup(leaves, ["setup"]);
    three_forks(&template, "fork");
    let nested = template.fork().expect("it can be forked").setup(leaves, ["second setup"]);
    three_forks(&nested, "nested fork");
    // Processes that end otherwise than by exit(3).
    ends_well(new().setup(leaves, ["before a program"]).exec(["/bin/true"]));
    let failed = new().setup(leaves, ["before a failure", "fail"]).run(leaves_too);
    assert!(failed.expect_err("the setup failed").is_setup());
}

fn text_before_a_snapshot(_: &[String]) {
    leave("program");
    let snapshot = Process::snapshot().expect("there is one thread");
    three_forks(&snapshot, "fork");
}

/// Constructors have left text, before ours and after it.
fn text_of_constructors(_: &[String]) {
    three_forks(&new(), "fork");
}

extern "C" fn leaves_as_constructor() {
    if std::env::var_os("LEAVE_TEXT").is_some() {
        leave("constructor");
    }
}

extern "C" fn leaves_as_early_constructor() {
    if std::env::var_os("LEAVE_TEXT").is_some() {
        leave("early constructor");
    }
}

#[used]
// SAFETY: the section holds addresses of functions that are called once, before main;
// arguments that one does not take are ignored.
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = leaves_as_constructor;

#[used]
// SAFETY: as above; before the library's own, which is at 101, and after std's.
#[unsafe(link_section = ".init_array.00100")]
static EARLY_CONSTRUCTOR: extern "C" fn() = leaves_as_early_constructor;

/// Where the handler says who has ended; a descriptor that stays open.
static REPORT: AtomicI32 = AtomicI32::new(-1);

/// Says that a process has come to its end, in one line.
#[allow(unsafe_code)]
extern "C" fn handler() {
    let line = format!("{}\n", std::process::id());
    // SAFETY: a descriptor that nobody closes, and bytes that live.
    unsafe { libc::write(REPORT.load(Ordering::Relaxed), line.as_ptr().cast(), line.len()) };
}

#[allow(unsafe_code)]
fn register(report: RawFd) {
    REPORT.store(report, Ordering::Relaxed);
    // SAFETY: a function of this program, which lasts as long as the process.
    assert_eq!(unsafe { libc::atexit(handler) }, 0);
}

#[offshoot::setup]
fn registers(_: Args) {
    register(offshoot::run_args().fds.remove(0).into_raw_fd());
}

/// Says its id, and ends as it is told.
#[offshoot::entry]
fn told(mut start: Start) -> std::io::Result<()> {
    write!(start.stream, "{}", std::process::id())?;
    match start.args.first().map(Vec::as_slice) {
        None => Ok(()),
        Some(b"exit") => std::process::exit(0),
        Some(_) => panic!("as it was told"),
    }
}

/// Runs it; its id, once it has ended.
fn id_of(process: Process) -> u32 {
    let child = process.run(told).expect("it runs");
    let mut said = String::new();
    child.stream().read_to_string(&mut said).expect("it is text");
    child.wait().expect("its status is told");
    said.parse().expect("its id")
}

/// The processes in which the handler has run, in order, once all that could report are gone.
fn reported(lines: BufReader<File>) -> Vec<u32> {
    lines.lines().map(|line| line.expect("it is text").parse().expect("an id")).collect()
}

/// Handlers run where whoever has registered them ends by exit(3), and so in forks of it.
fn handlers(_: &[String]) {
    // Of a setup function: at the end of each fork, and not of the template.
    let (lines, report) = pipe();
    let template = new().send_fd(&report).setup(registers, [""; 0]);
    drop(report);
    let fork = || template.fork().expect("it can be forked");
    let ended = [id_of(fork()), id_of(fork().send_arg("exit")), id_of(fork().send_arg("panic"))];
    // Neither where a program takes the place, nor where a signal ends the process.
    ends_well(fork().exec(["/bin/true"]));
    let killed = fork().run(stay_quietly).expect("it runs");
    killed.kill().expect("it runs");
    killed.wait().expect("its status is told");
    drop(template);
    assert_eq!(reported(lines), ended);

    // Of the program: at the end of a snapshot's forks, and of no others.
    let (lines, report) = pipe();
    register(report.as_raw_fd());
    id_of(new());
    id_of(new().setup(touch, [""; 0]));
    let snapshot = Process::snapshot().expect("there is one thread");
    let ended = [(); 2].map(|()| id_of(snapshot.fork().expect("it can be forked")));
    drop((snapshot, report));
    // The program's own end is reported to the test.
    REPORT.store(1, Ordering::Relaxed);
    assert_eq!(reported(lines), ended);
}
