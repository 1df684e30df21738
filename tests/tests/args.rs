//! Strings and descriptors arrive in the order in which they were sent, whole, and
//! those of a template before those of its forks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use offshoot::{Args, Entry, Process, RunArgs, Start, run_args};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Sends its arguments back, with their lengths, and then the inodes of its
/// descriptors.
#[offshoot::entry]
fn echo(start: Start) -> io::Result<()> {
    say_back(&start, &start.args, &start.fds)
}

fn say_back(start: &Start, args: &[Vec<u8>], fds: &[OwnedFd]) -> io::Result<()> {
    let mut said = io::BufWriter::new(&start.stream);
    said.write_all(&args.len().to_le_bytes())?;
    for arg in args {
        said.write_all(&arg.len().to_le_bytes())?;
        said.write_all(arg)?;
    }
    for fd in fds {
        said.write_all(&inode(&File::from(fd.try_clone()?)).to_le_bytes())?;
    }
    said.flush()
}

fn inode(file: &File) -> u64 {
    file.metadata().expect("it is open").ino()
}

/// What `echo` was started with: its arguments, and the inodes of its descriptors.
fn echoed(process: Process) -> (Vec<Vec<u8>>, Vec<u64>) {
    answer(process, echo)
}

fn answer(process: Process, entry: Entry<io::Result<()>>) -> (Vec<Vec<u8>>, Vec<u64>) {
    let child = process.run(entry).unwrap();
    let mut stream = child.stream();
    let mut number = || {
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes).ok().map(|()| u64::from_le_bytes(bytes))
    };
    let count = number().unwrap();
    let mut args = Vec::new();
    for _ in 0..count {
        let mut arg = vec![0; number().unwrap() as usize];
        (&mut child.stream()).read_exact(&mut arg).unwrap();
        args.push(arg);
    }
    let inodes = std::iter::from_fn(number).collect();
    assert!(child.wait().unwrap().success());
    (args, inodes)
}

fn new() -> Process {
    Process::new().unwrap()
}

fn files(count: usize) -> Vec<File> {
    (0..count).map(|_| tempfile::tempfile().unwrap()).collect()
}

fn inodes(files: &[File]) -> Vec<u64> {
    files.iter().map(inode).collect()
}

#[offshoot::setup]
fn nothing(_: Args) {}

#[test]
fn strings_and_descriptors_keep_their_order() {
    within(DEADLINE, || {
        let files = files(3);
        let process = new().send_arg("a").send_fd(&files[2]).send_arg("b").send_arg("c");
        let process = process.send_fd(&files[0]).send_fd(&files[1]).send_arg("d");
        let (args, got) = echoed(process);
        assert_eq!(args, ["a", "b", "c", "d"].map(|s| s.as_bytes().to_vec()));
        assert_eq!(got, [2, 0, 1].map(|i| inode(&files[i])));
        assert_eq!(echoed(new()), (vec![], vec![]));
    });
}

/// Everything that a fork gets, and what it does not get: `grow` may make a template
/// of what is only a queue in a handle.
fn forks_clone(grow: fn(Process) -> Process) {
    let files = files(4);
    let ino = |numbers: &[usize]| numbers.iter().map(|i| inode(&files[*i])).collect::<Vec<_>>();
    let text = |s: &str| s.split(' ').map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>();
    let first = grow(new().send_arg("1").send_fd(&files[0]));
    let before = first.fork().unwrap();
    let first = grow(first.send_arg("2").send_fd(&files[1]));
    let after = first.fork().unwrap().send_arg("3").send_fd(&files[2]);
    let twice = grow(after.fork().unwrap().send_arg("4").send_fd(&files[3])).fork().unwrap();
    let after = after.send_arg("5");
    assert_eq!(echoed(twice), (text("1 2 3 4"), ino(&[0, 1, 2, 3])));
    assert_eq!(echoed(after), (text("1 2 3 5"), ino(&[0, 1, 2])));
    assert_eq!(echoed(first.send_arg("6")), (text("1 2 6"), ino(&[0, 1])));
    assert_eq!(echoed(before), (text("1"), ino(&[0])));
}

#[test]
fn forks_clone_what_is_queued() {
    within(DEADLINE, || forks_clone(|p| p));
}

#[test]
fn forks_clone_what_is_in_a_template() {
    within(DEADLINE, || forks_clone(|p| p.setup(nothing, ["x"])));
}

#[test]
fn forks_clone_what_went_to_another_process_by_its_socket() {
    within(DEADLINE, || forks_clone(|p| Process::from_fd(p.into_fd().unwrap()).unwrap()));
}

#[test]
fn forks_clone_what_is_too_much_to_be_cloned_in_the_handle() {
    within(DEADLINE, || {
        let (big, small) = (vec![b'x'; 100_000], b"y".to_vec());
        let template = new().send_arg(&big);
        let fork = template.fork().unwrap().send_arg(&small);
        assert_eq!(echoed(fork.fork().unwrap()).0, [big.clone(), small.clone()]);
        let template = template.send_arg(&small).send_arg(&big);
        assert_eq!(echoed(template.fork().unwrap()).0, [&big, &small, &big].map(Clone::clone));
        assert_eq!(echoed(fork).0, [big, small]);
    });
}

#[test]
fn any_bytes_arrive() {
    within(DEADLINE, || {
        let all: Vec<u8> = (0..=255).collect();
        let sent = [&b""[..], b"\0", b"", b"a\0b\0", b"\xff\xfe\xc3", &all, b""];
        let process = sent.iter().fold(new(), |p, arg| p.send_arg(arg));
        assert_eq!(echoed(process).0, sent);
    });
}

#[test]
fn ten_thousand_strings_arrive() {
    within(DEADLINE, || {
        let sent: Vec<Vec<u8>> = (0..10_000).map(|n| n.to_string().into_bytes()).collect();
        let process = sent.iter().fold(new(), |p, arg| p.send_arg(arg));
        let fork = process.fork().unwrap().send_arg("last");
        assert!(echoed(process).0 == sent);
        assert!(echoed(fork).0 == [sent, vec![b"last".to_vec()]].concat());
    });
}

#[test]
fn strings_about_the_size_of_a_datagram_arrive() {
    within(DEADLINE, || {
        const DATAGRAM: usize = 16 * 1024;
        let template = new();
        for size in (DATAGRAM - 120..DATAGRAM + 20).chain([4 * DATAGRAM - 1, 4 * DATAGRAM]) {
            let sent = [vec![1; size], vec![2; 3]];
            let process = template.fork().unwrap().send_arg(&sent[0]).send_arg(&sent[1]);
            assert!(echoed(process).0 == sent, "{size}");
        }
        let process = (0..40).fold(template, |p, _| p.send_arg([3; 1000]));
        assert!(echoed(process).0 == vec![[3; 1000]; 40]);
    });
}

const BLOCK: usize = 1 << 20;

fn block() -> Vec<u8> {
    (0..BLOCK).map(|n| ((n * n) >> 7) as u8).collect()
}

#[offshoot::entry]
fn weigh(start: Start) -> Result<(), String> {
    let block = block();
    let right = start.args[0].chunks(BLOCK).all(|c| c == block);
    (right && start.args[0].len() == 1 << 30 && start.args[1] == b"end")
        .then_some(())
        .ok_or(format!("{} bytes, right: {right}", start.args[0].len()))
}

#[test]
fn a_gigabyte_arrives() {
    const NEEDED_KIB: u64 = 6 << 20;
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let available = memory.lines().find_map(|l| l.strip_prefix("MemAvailable:")).unwrap();
    let available: u64 = available.trim().trim_end_matches(" kB").parse().unwrap();
    if available < NEEDED_KIB {
        eprintln!("left out: {available} KiB of memory are available, it needs {NEEDED_KIB}");
        return;
    }
    within(DEADLINE, || {
        let sent = block().repeat(1 << 10);
        let process = new().send_arg(&sent).send_arg("end");
        drop(sent);
        assert!(process.run(weigh).unwrap().wait().unwrap().success());
    });
}

#[test]
fn five_hundred_descriptors_arrive() {
    within(DEADLINE, || {
        // Few of our own, since a process may be limited to 1,024: the order shows.
        let files = files(50);
        let sent: Vec<&File> = (0..500).map(|n| &files[n * n % 50]).collect();
        let (_, got) = echoed(sent.iter().fold(new(), |p, file| p.send_fd(file)));
        assert_eq!(got, sent.iter().map(|f| inode(f)).collect::<Vec<_>>());
    });
}

#[test]
fn thousands_of_descriptors_arrive_and_more_are_refused() {
    let mut command = std::process::Command::new("/bin/sh");
    let script = "ulimit -n 12000 && exec \"$0\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_many_fds")]);
    let output = offshoot_tests::run_command(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((String::from_utf8_lossy(&output.stdout).as_ref(), &*said), ("all right\n", ""));
}

static TAKEN: Mutex<(Vec<Vec<u8>>, Vec<OwnedFd>)> = Mutex::new((Vec::new(), Vec::new()));

#[offshoot::setup]
fn take(_: Args) {
    let RunArgs { args, fds, .. } = run_args();
    let mut taken = TAKEN.lock().unwrap();
    taken.0.extend(args);
    taken.1.extend(fds);
}

/// As `echo`, of what setup functions have taken.
#[offshoot::entry]
fn echo_taken(start: Start) -> io::Result<()> {
    let taken = TAKEN.lock().unwrap();
    say_back(&start, &taken.0, &taken.1)
}

#[test]
fn what_a_setup_function_takes_does_not_reach_the_entry() {
    within(DEADLINE, || {
        let files = files(3);
        let template = new().send_arg("1").send_fd(&files[0]).setup(take, ["x"]);
        let template = template.send_arg("2").send_fd(&files[1]);
        let fork = template.fork().unwrap().send_arg("3").send_fd(&files[2]);
        let text = |s: &[&str]| s.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>();
        // Before it was taken, it was queued; after that, it is nobody's but the setup's.
        let taken = template.fork().unwrap();
        assert_eq!(answer(taken, echo_taken), (text(&["1"]), inodes(&files[..1])));
        let taken = fork.fork().unwrap().setup(take, ["x"]).send_arg("4");
        assert_eq!(answer(taken, echo_taken), (text(&["1", "2", "3"]), inodes(&files)));
        let taken = fork.fork().unwrap().setup(take, ["x"]).send_arg("4");
        assert_eq!(echoed(taken), (text(&["4"]), vec![]));
        assert_eq!(echoed(fork), (text(&["2", "3"]), inodes(&files[1..])));
        assert_eq!(echoed(template), (text(&["2"]), inodes(&files[1..2])));
    });
}

#[offshoot::entry]
fn take_in_an_entry(start: Start) -> Result<(), String> {
    let taken = run_args();
    let kept = start.args.len() == 1 && start.fds.len() == 1;
    let none = taken.args.is_empty() && taken.fds.is_empty();
    (kept && none).then_some(()).ok_or(format!("{taken:?}"))
}

#[test]
fn there_is_nothing_to_take_outside_of_a_setup_function() {
    within(DEADLINE, || {
        assert!(run_args().args.is_empty() && run_args().fds.is_empty());
        let process = new().send_arg("1").setup(take, ["x"]).send_arg("2").send_fd(&files(1)[0]);
        assert!(process.run(take_in_an_entry).unwrap().wait().unwrap().success());
    });
}
