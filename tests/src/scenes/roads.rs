//! Programs that are started in odd ways, and where their processes come from.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use offshoot::{Args, Process, Start};

use super::{Scene, echo, touch, works};

pub(super) const SCENES: &[Scene] = &[
    ("basic", basic),
    ("without_its_file", without_its_file),
    ("no_proc", no_proc),
    ("secure", secure),
    ("secure_later", secure_later),
    ("secure_preloads", secure_preloads),
    ("doctor", |_| println!("{:?}: {}", offshoot::doctor().road, offshoot::doctor().reason)),
    ("report", |_| println!("{}", offshoot::doctor())),
    ("threaded", threaded),
    ("closed_stdio", closed_stdio),
    ("start_up", start_up),
    ("panics", |_| ends(panics, 101)),
    ("overflows", overflows),
    ("prints", |_| ends(prints, 0)),
    ("siblings", siblings),
];

fn new() -> Process {
    Process::new().expect("processes can be made")
}

fn said(process: Process, entry: offshoot::Entry<std::io::Result<()>>) -> String {
    let child = process.run(entry).expect("it runs");
    let mut text = String::new();
    child.stream().read_to_string(&mut text).expect("it is text");
    assert!(child.wait().expect("its status is told").success());
    text
}

/// Everything works, and processes have the arguments of the program.
fn basic(_: &[String]) {
    let args: Vec<String> = std::env::args().collect();
    let executed = Process::new_exec().expect("it is made");
    let template = new().setup(touch, [""; 0]);
    for process in [Ok(new()), executed.fork(), template.fork(), Ok(template)] {
        assert_eq!(said(process.expect("it can be forked"), arguments), format!("{args:?}"));
    }
    works(executed);
    println!("main {:?}", offshoot::doctor().road);
}

#[offshoot::entry]
fn arguments(mut start: Start) -> std::io::Result<()> {
    write!(start.stream, "{:?}", std::env::args().collect::<Vec<_>>())
}

fn inode() -> String {
    let file = fs::metadata("/proc/self/exe").expect("/proc is mounted");
    format!("{}:{}", file.dev(), file.ino())
}

#[offshoot::entry]
fn image(mut start: Start) -> std::io::Result<()> {
    write!(start.stream, "{}", inode())
}

/// Gives up its own file, or puts another in its place, and still is what it was.
fn without_its_file(args: &[String]) {
    let (own, before) = (Path::new(&args[0]), inode());
    match args.get(1) {
        Some(other) => fs::rename(other, own).expect("it is ours"),
        None => fs::remove_file(own).expect("it is ours"),
    }
    for _ in 0..2 {
        let executed = Process::new_exec().expect("it is made");
        assert_eq!(said(executed.fork().expect("it can be forked"), image), before);
        assert_eq!(said(executed, image), before);
    }
    assert_eq!(said(new(), image), before);
    assert_eq!(said(new(), image_of_own), before);
}

/// A process of a process: its image has never been a file that it knew.
#[offshoot::entry]
fn image_of_own(mut start: Start) -> std::io::Result<()> {
    write!(start.stream, "{}", said(new(), image))
}

fn no_proc(_: &[String]) {
    assert!(!Path::new("/proc/self").exists(), "/proc is there");
    std::thread::spawn(|| basic(&[])).join().expect("it does not panic");
    let error = Process::new().and_then(|p| p.exec(["/bin/none"])).expect("it is sent").wait();
    assert!(error.expect_err("there is no such program").is_exec());
    let child = new().run(echo).expect("it runs");
    child.wait().expect("its status is told");
    child.usage().expect("what it used is told");
}

/// Started with the privileges of the file's owner, by somebody who sets a marker.
fn secure(_: &[String]) {
    let ids = nix::unistd::getresuid().expect("they are known");
    if ids.real == ids.effective {
        println!("not secure");
        return;
    }
    assert!(std::env::var_os("OFFSHOOT_TEMPLATE").is_none(), "the marker is still set");
    if offshoot::doctor().road == offshoot::Road::None {
        let unsupported = |error: offshoot::Error| assert!(error.is_unsupported(), "{error}");
        unsupported(new().run(real_user).expect_err("it would run main"));
        unsupported(Process::new_exec().map(drop).expect_err("it would run main"));
        println!("secure, without processes");
        return;
    }
    assert_eq!(said(new(), real_user), ids.real.to_string());
    let template = new().setup(touch, [""; 0]);
    assert_eq!(said(template, real_user), ids.real.to_string());
    println!("secure");
}

/// Started by root, from a file that gives privileges to others; then not root's any
/// more: executing it again must not give them back, nor run main.
fn secure_later(_: &[String]) {
    let (user, group) = (4711.into(), 4712.into());
    nix::unistd::setgroups(&[]).expect("we are root");
    nix::unistd::setresgid(group, group, group).expect("we are root");
    nix::unistd::setresuid(user, user, user).expect("we are root");
    println!("once");
    if offshoot::doctor().road == offshoot::Road::None {
        let error = new().run(real_user).expect_err("it would run main");
        assert!(error.is_unsupported(), "{error}");
        return println!("without processes");
    }
    assert_eq!(said(new(), real_user), "4711");
    assert_eq!(said(Process::new_exec().expect("it is made"), real_user), "4711");
}

static LOADED: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();

#[offshoot::setup]
fn load(_args: Args) {
    LOADED.set(vec![7; 64 << 20]).expect("it runs once");
}

/// How much of what it has is in huge pages.
#[offshoot::entry]
fn huge(mut start: Start) -> std::io::Result<()> {
    write!(start.stream, "{}", offshoot_tests::proc::huge_pages(std::process::id()))
}

/// As `secure`; says how much of what a template has loaded is in huge pages.
fn secure_preloads(_: &[String]) {
    let ids = nix::unistd::getresuid().expect("they are known");
    if ids.real == ids.effective {
        return println!("not secure");
    }
    let template = new().setup(load, [""; 0]);
    println!("{}", said(template.fork().expect("it can be forked"), huge));
}

/// The user that a process is, in all ids.
#[offshoot::entry]
fn real_user(mut start: Start) -> std::io::Result<()> {
    let ids = nix::unistd::getresuid()?;
    assert!(ids.real == ids.effective && ids.real == ids.saved, "{ids:?}");
    let status = fs::read_to_string("/proc/self/status")?;
    assert!(ids.real.is_root() || status.contains("\nCapPrm:\t0000000000000000\n"), "{status}");
    write!(start.stream, "{}", ids.real)
}

/// A library has started a thread before the hook, here and in every re-execution.
fn threaded(_: &[String]) {
    let report = offshoot::doctor();
    println!("{:?} {}: {}", report.road, report.threads_at_hook, report.reason);
    for process in [new(), Process::new_exec().expect("it is made")] {
        let error = process.run(echo).expect("it is sent").wait().expect_err("it is not forked");
        assert!(error.is_threaded(), "{error}");
    }
    let error = new().setup(touch, [""; 0]).run(echo).expect_err("it is not forked");
    assert!(error.is_threaded(), "{error}");
    let error = Process::snapshot().expect_err("it is not forked");
    assert!(error.is_threaded(), "{error}");
    println!("clear");
}

/// Started without standard streams: what the library opens is not among them.
fn closed_stdio(args: &[String]) {
    let into = fs::File::create(&args[0]).expect("it can be made");
    let said = said(new(), stdio);
    writeln!(&into, "{said}").expect("it can be written");
}

#[offshoot::entry]
fn stdio(mut start: Start) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    println!("to nobody");
    eprintln!("to nobody");
    let targets = (0..3).map(|n| fs::read_link(format!("/proc/self/fd/{n}")));
    let all: Vec<String> =
        targets.map(|t| t.map_or("closed".into(), |t| t.display().to_string())).collect();
    write!(start.stream, "{} {}", all.join(" "), start.stream.as_raw_fd() > 2)
}

static LATER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn later() {
    LATER.fetch_add(1, Ordering::Relaxed);
}

#[used]
// SAFETY: the section holds addresses of functions that are called once, before main;
// arguments that one does not take are ignored.
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = later;

/// What std's start-up and later constructors do, has been done in processes as well.
fn start_up(_: &[String]) {
    assert_eq!(said(new(), started), "constructed 1 piped BrokenPipe args true");
    println!("{}", LATER.load(Ordering::Relaxed));
}

#[offshoot::entry]
fn started(mut start: Start) -> std::io::Result<()> {
    let (read, mut write) = std::io::pipe()?;
    drop(read);
    let piped = write.write_all(b"to nobody").expect_err("nobody reads").kind();
    let args = std::env::args().count() == 2;
    let constructed = LATER.load(Ordering::Relaxed);
    write!(start.stream, "constructed {constructed} piped {piped:?} args {args}")
}

fn ends(entry: offshoot::Entry<()>, code: i32) {
    let child = new().run(entry).expect("it runs");
    assert_eq!(child.wait().expect("its status is told").code(), Some(code));
}

#[offshoot::entry]
fn panics(_start: Start) {
    panic!("on purpose");
}

#[offshoot::entry]
fn prints(_start: Start) {
    print!("without a newline");
}

fn overflows(_: &[String]) {
    let template = new().setup(touch, [""; 0]);
    for process in [new(), template] {
        let child = process.run(overflow).expect("it runs");
        assert_eq!(child.wait().expect("its status is told").signal(), Some(libc::SIGABRT));
    }
}

#[offshoot::entry]
fn overflow(_start: Start) {
    deeper(0);
}

fn deeper(n: usize) -> usize {
    let room = std::hint::black_box([n; 100]);
    if n == usize::MAX { 0 } else { deeper(n + 1) + room[n % 100] }
}

/// Siblings have random numbers of their own.
fn siblings(_: &[String]) {
    let template = new().setup(touch, [""; 0]);
    let mut orders: Vec<String> = (0..8)
        .map(|n| if n % 2 == 0 { new() } else { template.fork().expect("it can be forked") })
        .map(|process| said(process, order))
        .collect();
    orders.sort();
    orders.dedup();
    assert_eq!(orders.len(), 8);
}

#[offshoot::entry]
fn order(mut start: Start) -> std::io::Result<()> {
    let all: std::collections::HashMap<usize, ()> = (0..100).map(|n| (n, ())).collect();
    write!(start.stream, "{:?}", all.keys().collect::<Vec<_>>())
}
