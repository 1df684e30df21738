//! Templates: prepared once, forked many times, handed over, and let go.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use offshoot::{Args, Child, Process, Start};
use offshoot_tests::forge;
use offshoot_tests::probe::{settled, template_of};
use offshoot_tests::proc::{huge_pages, huge_pages_refused, is_collapsed};
use offshoot_tests::{DEADLINE, eventually, output_of, runs, within};

offshoot::early!();

/// What the setup function has loaded, and in which process.
static LOADED: OnceLock<(u32, Vec<u8>)> = OnceLock::new();

#[offshoot::setup]
fn load(args: Args) {
    let megabytes: usize = args.text()[0].parse().unwrap();
    let data = vec![7; megabytes << 20];
    LOADED.set((std::process::id(), data)).expect("it runs once");
}

/// Tells where what it sees was loaded, and its own arguments.
#[offshoot::entry]
fn tell(mut start: Start) -> std::io::Result<()> {
    let (pid, data) = LOADED.get().map_or((0, 0), |(pid, data)| (*pid, data.len()));
    let args: Vec<_> = start.args.iter().map(|a| String::from_utf8_lossy(a)).collect();
    write!(start.stream, "{pid} {data} {}", args.join(" "))
}

#[offshoot::entry]
fn linger(mut start: Start) {
    let _ = start.stream.read(&mut [0]);
}

fn new() -> Process {
    Process::new().unwrap()
}

fn said(child: &Child) -> String {
    let mut said = String::new();
    child.stream().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    said
}

#[test]
fn ten_workers_share_what_was_loaded_once() {
    within(DEADLINE, || {
        let template = new().send_arg("common").setup(load, ["1"]);
        let children: Vec<Child> = (0..10)
            .map(|n| template.fork().unwrap().send_arg(n.to_string()).run(tell).unwrap())
            .collect();
        let all: Vec<String> = children.iter().map(said).collect();
        let (loader, _) = all[0].split_once(' ').unwrap();
        for (n, (child, text)) in children.iter().zip(&all).enumerate() {
            assert_eq!(*text, format!("{loader} {} common {n}", 1 << 20));
            assert_ne!(child.id().unwrap().to_string(), loader);
        }
        assert!(runs(loader.parse().unwrap()), "it is the template");
    });
}

/// Answers one connection with its process id.
#[offshoot::entry]
fn accept_one(mut start: Start) -> std::io::Result<()> {
    let listener = TcpListener::from(start.fds.remove(0));
    let (mut connection, _) = listener.accept()?;
    write!(connection, "{}", std::process::id())
}

#[test]
fn ten_workers_accept_on_one_listener() {
    within(DEADLINE, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let template = new().send_fd(&listener).setup(load, ["1"]);
        let workers: Vec<Child> =
            (0..10).map(|_| template.fork().unwrap().run(accept_one).unwrap()).collect();
        let mut answered: Vec<u32> = (0..10)
            .map(|_| {
                let mut text = String::new();
                let address = listener.local_addr().unwrap();
                TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
                text.parse().unwrap()
            })
            .collect();
        let mut pids: Vec<u32> = workers.iter().map(|w| w.id().unwrap()).collect();
        assert!(workers.iter().all(|w| w.wait().unwrap().success()));
        answered.sort_unstable();
        pids.sort_unstable();
        assert_eq!(answered, pids);
    });
}

#[test]
fn a_threaded_program_cannot_be_taken_as_it_is() {
    within(DEADLINE, || {
        // This is a thread of its own.
        let error = Process::snapshot().unwrap_err();
        assert!(error.is_threaded(), "{error:?}");
        assert!(error.to_string().contains("threads"), "{error}");
    });
}

const TEMPLATE: &str = env!("CARGO_BIN_EXE_template");

#[test]
fn a_snapshot_is_the_program_as_it_was_then() {
    within(DEADLINE, || {
        assert_eq!(output_of(TEMPLATE, &["snapshot"]), "before\nbefore\nbetween\nbefore\n");
    });
}

#[test]
fn each_new_exec_has_a_template_of_its_own() {
    within(DEADLINE, || {
        assert_eq!(output_of(TEMPLATE, &["new_exec"]), "unset\n");
    });
}

/// Takes a process over that comes on its stream, and reports what a fork of it says.
#[offshoot::entry]
fn take_over(mut start: Start) -> Result<(), offshoot::Error> {
    let fd = forge::receive_fds(&start.stream).remove(0);
    let process = Process::from_fd(fd)?;
    for n in 0..2 {
        let child = process.fork()?.send_arg(n.to_string()).run(tell)?;
        let mut text = String::new();
        child.stream().read_to_string(&mut text).expect("a stream");
        assert!(child.wait()?.success());
        writeln!(start.stream, "{text}").expect("a stream");
    }
    Ok(())
}

#[test]
fn a_process_is_handed_to_another_process() {
    within(DEADLINE, || {
        let fd: OwnedFd = new().send_arg("given").setup(load, ["2"]).into_fd().unwrap();
        let worker = new().run(take_over).unwrap();
        forge::send(worker.stream(), b"x", &[fd]).unwrap();
        let text = said(&worker);
        let lines: Vec<&str> = text.lines().collect();
        let (loader, _) = text.split_once(' ').unwrap();
        let bytes = 2 << 20;
        assert_eq!(lines, [0, 1].map(|n| format!("{loader} {bytes} given {n}")));
        let loader = loader.parse().unwrap();
        eventually(DEADLINE, "it is let go with the last handle", || !runs(loader));
    });
}

/// Makes a process of its own, by itself.
#[offshoot::entry]
fn nest(mut start: Start) -> Result<(), offshoot::Error> {
    let depth: u32 = String::from_utf8_lossy(&start.args[0]).parse().expect("a number");
    let child = match depth {
        0 => Process::new()?.send_arg("the innermost").run(tell)?,
        _ => Process::new()?.send_arg((depth - 1).to_string()).run(self::nest)?,
    };
    let mut text = String::new();
    child.stream().read_to_string(&mut text).expect("a stream");
    assert!(child.wait()?.success());
    write!(start.stream, "{text}").expect("a stream");
    Ok(())
}

#[test]
fn a_worker_makes_processes_of_its_own() {
    within(DEADLINE, || {
        assert_eq!(said(&new().send_arg("0").run(nest).unwrap()), "0 0 the innermost");
        assert_eq!(said(&new().send_arg("2").run(nest).unwrap()), "0 0 the innermost");
    });
}

#[test]
fn a_dropped_template_lingers_for_its_children() {
    within(DEADLINE, || {
        let template = settled(new());
        let child = template.fork().unwrap().run(linger).unwrap();
        let pid = template_of(&child);
        drop(template);
        assert_eq!(child.try_wait().unwrap(), None);
        child.signal(0).expect("both live, and the template still answers");
        child.stream().shutdown(std::net::Shutdown::Both).unwrap();
        assert!(child.wait().unwrap().success());
        eventually(DEADLINE, "it goes with its last child", || !runs(pid));
    });
}

/// "Configure and forget": no handle is needed for what a process is to do.
#[test]
fn a_process_that_nobody_has_a_handle_of_does_its_work() {
    within(DEADLINE, || {
        let (mut done, given) = std::io::pipe().unwrap();
        let template = new().setup(load, ["1"]);
        drop(template.fork().unwrap().send_fd(&given).run(work).unwrap());
        drop(template.send_fd(&given).run(work).unwrap());
        drop(new().send_fd(given).run(work).unwrap());
        let mut all = String::new();
        done.read_to_string(&mut all).unwrap();
        assert_eq!(all, "done done done ");
    });
}

/// Waits until its parent has closed the stream, and only then does something.
#[offshoot::entry]
fn work(mut start: Start) -> std::io::Result<()> {
    start.stream.read_to_end(&mut Vec::new())?;
    File::from(start.fds.remove(0)).write_all(b"done ")
}

#[test]
fn a_process_that_is_never_run_simply_exits() {
    within(DEADLINE, || {
        let (mut seen, given) = std::io::pipe().unwrap();
        let process = settled(new().send_fd(&given));
        drop((given, process));
        // Nobody else has it.
        assert_eq!(seen.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn what_was_preloaded_is_collapsed_into_huge_pages_unless_told_otherwise() {
    within(DEADLINE, || {
        let file = "/sys/kernel/mm/transparent_hugepage/enabled";
        let mut policy = String::new();
        let known = File::open(file).and_then(|mut f| f.read_to_string(&mut policy));
        if known.is_err() || !offshoot::doctor().madv_collapse {
            println!("skipped: this kernel has no huge pages to collapse into");
            return;
        }
        let of_template = |on| {
            let template = new().huge_pages(on).setup(load, ["64"]);
            let child = template.fork().unwrap().run(linger).unwrap();
            huge_pages(template_of(&child))
        };
        let refused = huge_pages_refused();
        let collapsed = of_template(true);
        if is_collapsed(collapsed, 64, refused) && !policy.contains("[always]") {
            assert_eq!(of_template(false), 0);
        }
    });
}
