//! How each process ended, and what it used, is told of exactly that process.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use offshoot::{Child, Process, Resource, Start};
use offshoot_tests::proc::children_of;
use offshoot_tests::{DEADLINE, eventually, output_of, within};

offshoot::early!();

fn new() -> Process {
    Process::new().unwrap()
}

fn number(start: &Start) -> i32 {
    String::from_utf8_lossy(&start.args[0]).parse().expect("a number was sent")
}

#[offshoot::entry]
fn exit_with(start: Start) {
    std::process::exit(number(&start));
}

#[offshoot::entry]
fn return_code(start: Start) -> ExitCode {
    ExitCode::from(number(&start) as u8)
}

#[offshoot::entry]
fn return_result(start: Start) -> Result<(), String> {
    match number(&start) {
        0 => Ok(()),
        _ => Err("out of paper".to_owned()),
    }
}

#[offshoot::entry]
fn panic_with(start: Start) {
    panic!("no such tray: {}", number(&start));
}

#[offshoot::entry]
fn panic_in_a_thread(_: Start) {
    let panicked = thread::spawn(|| panic!("only a thread")).join();
    assert!(panicked.is_err());
}

#[offshoot::entry]
fn until_eof(mut start: Start) -> io::Result<()> {
    start.stream.read_to_end(&mut Vec::new()).map(|_| ())
}

#[test]
fn every_exit_status_is_told() {
    within(DEADLINE, || {
        let template = new();
        let with = |n: i32| template.fork().unwrap().send_arg(n.to_string());
        for n in 0..=255 {
            let by_call = with(n).run(exit_with).unwrap();
            let by_return = with(n).run(return_code).unwrap();
            assert_eq!(by_return.wait().unwrap().code(), Some(n));
            assert_eq!(by_call.wait().unwrap().code(), Some(n));
        }
        assert_eq!(with(256 + 7).run(exit_with).unwrap().wait().unwrap().code(), Some(7));
        assert_eq!(with(-1).run(exit_with).unwrap().wait().unwrap().code(), Some(255));
    });
}

/// The status of a process, and what it printed on its standard error.
fn told(run: impl FnOnce(Process) -> Result<Child, offshoot::Error>, arg: &str) -> (i32, String) {
    let (mut reader, writer) = io::pipe().unwrap();
    let child = run(new().send_arg(arg).stderr(writer)).unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code().unwrap(), said)
}

#[test]
fn an_error_is_printed_and_gives_one() {
    within(DEADLINE, || {
        let result = told(|p| p.run(return_result), "1");
        assert_eq!(result, (1, "Error: \"out of paper\"\n".to_owned()));
        assert_eq!(told(|p| p.run(return_result), "0"), (0, String::new()));
    });
}

#[test]
fn a_panic_is_printed_and_gives_101() {
    within(DEADLINE, || {
        let (status, said) = told(|p| p.run(panic_with), "3");
        assert_eq!(status, 101);
        assert!(said.contains("no such tray: 3") && said.contains("status.rs"), "{said}");
        let (status, said) = told(|p| p.run(panic_in_a_thread), "");
        assert_eq!(status, 0);
        assert!(said.contains("only a thread"), "{said}");
    });
}

/// Everything that ends a process which does nothing about it.
fn deadly() -> Vec<i32> {
    use Signal::*;
    // They do nothing, or stop it.
    let harmless = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU];
    let plain = Signal::iterator().filter(|s| !harmless.contains(s)).map(|s| s as i32);
    plain.chain(libc::SIGRTMIN()..=libc::SIGRTMAX()).collect()
}

/// Sends itself a signal, again and again: std's handler of stack overflows lets the
/// first SIGSEGV and SIGBUS pass.
#[offshoot::entry]
fn die_of(start: Start) {
    let number = number(&start);
    if number == libc::SIGPIPE {
        // SAFETY: the default is no function.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.unwrap();
    }
    loop {
        match Signal::try_from(number) {
            Ok(signal) => raise(signal).unwrap(),
            // SAFETY: two numbers.
            Err(_) => assert_eq!(unsafe { libc::raise(number) }, 0),
        }
    }
}

#[test]
fn every_deadly_signal_is_told() {
    within(DEADLINE, || {
        let signals = deadly();
        assert!(signals.len() >= 23 + 30 && signals.contains(&libc::SIGKILL), "{signals:?}");
        for n in signals {
            let process = new().rlimit(Resource::Core, 0, 0).send_arg(n.to_string());
            let status = process.run(die_of).unwrap().wait().unwrap();
            assert_eq!((status.signal(), status.code()), (Some(n), None));
        }
    });
}

#[test]
fn every_deadly_signal_that_is_sent_is_told() {
    within(DEADLINE, || {
        // A Rust program ignores this one, and so does an entry.
        for n in deadly().into_iter().filter(|n| *n != libc::SIGPIPE) {
            let child = new().rlimit(Resource::Core, 0, 0).run(until_eof).unwrap();
            child.signal(n).unwrap();
            // As above; and it may have died of the first already.
            while [libc::SIGSEGV, libc::SIGBUS].contains(&n) && child.try_wait().unwrap().is_none()
            {
                let again = child.signal(n);
                assert!(again.as_ref().err().is_none_or(|e| e.is_ended()), "{again:?}");
            }
            assert_eq!(child.wait().unwrap().signal(), Some(n));
        }
        let child = new().run(until_eof).unwrap();
        child.signal(libc::SIGPIPE).unwrap();
        assert!(wait_after_eof(child).success());
    });
}

fn wait_after_eof(child: Child) -> ExitStatus {
    let receiver = child.exited_receiver();
    drop(child);
    receiver.recv().unwrap().unwrap()
}

#[test]
fn a_core_dump_is_a_death_by_its_signal() {
    within(DEADLINE, || {
        let dir = tempfile::tempdir().unwrap();
        let process = new().current_dir(dir.path()).send_arg(libc::SIGABRT.to_string());
        let status = process.run(die_of).unwrap().wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGABRT));
    });
}

#[test]
fn a_process_that_is_stopped_has_not_ended() {
    within(DEADLINE, || {
        let child = new().run(until_eof).unwrap();
        let id = child.id().unwrap();
        for _ in 0..3 {
            child.signal(libc::SIGSTOP).unwrap();
            eventually(DEADLINE, "it is stopped", || offshoot_tests::state(id) == Some('T'));
            assert_eq!(child.try_wait().unwrap(), None);
            child.signal(libc::SIGCONT).unwrap();
            eventually(DEADLINE, "it goes on", || offshoot_tests::state(id) == Some('S'));
        }
        assert!(wait_after_eof(child).success());
    });
}

#[offshoot::entry]
fn own_id(mut start: Start) -> io::Result<()> {
    use std::io::Write;
    let ids = [nix::unistd::getpid().as_raw(), nix::unistd::gettid().as_raw()];
    ids.iter().try_for_each(|id| start.stream.write_all(&id.to_le_bytes()))
}

#[test]
fn the_id_is_the_process_id() {
    within(DEADLINE, || {
        let children: Vec<Child> = (0..20).map(|_| new().run(own_id).unwrap()).collect();
        for child in children.iter().rev() {
            let (mut pid, mut tid) = ([0; 4], [0; 4]);
            child.stream().read_exact(&mut pid).unwrap();
            child.stream().read_exact(&mut tid).unwrap();
            assert_eq!(u32::from_le_bytes(pid), child.id().unwrap());
            assert_eq!(pid, tid);
            child.wait().unwrap();
            assert_eq!(u32::from_le_bytes(pid), child.id().unwrap());
        }
    });
}

const BURNT: Duration = Duration::from_millis(200);
const TOUCHED: usize = 64 << 20;

#[offshoot::entry]
fn burn(_: Start) {
    let ms = |t: nix::sys::time::TimeVal| t.tv_sec() * 1000 + t.tv_usec() / 1000;
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        Duration::from_millis((ms(usage.user_time()) + ms(usage.system_time())) as u64)
    };
    while used() < BURNT {}
}

#[offshoot::entry]
fn touch(_: Start) {
    let touched = std::hint::black_box(vec![1u8; TOUCHED]);
    assert_eq!(touched[TOUCHED / 2], 1);
}

#[offshoot::entry]
fn nothing(_: Start) {}

#[test]
fn usage_is_of_the_right_process() {
    within(DEADLINE, || {
        let template = new();
        let run = |entry| template.fork().unwrap().run(entry).unwrap();
        let children = [run(nothing), run(burn), run(touch), run(nothing), run(burn)];
        for (i, child) in children.iter().enumerate() {
            let usage = child.usage().unwrap();
            let time = usage.user_time + usage.system_time;
            let burns = i == 1 || i == 4;
            assert_eq!(time >= BURNT, burns, "{i}: {usage:?}");
            assert!(time < 2 * BURNT, "{i}: {usage:?}");
            assert_eq!(usage.peak_memory >= TOUCHED as u64, i == 2, "{i}: {usage:?}");
            assert_eq!(child.usage().unwrap(), usage);
        }
    });
}

#[test]
fn no_zombie_is_left_by_children_that_nobody_waits_for() {
    let said = output_of(env!("CARGO_BIN_EXE_crowd"), &["dropped"]);
    assert_eq!(said, "5000 made, none left\n");
}

#[test]
fn eight_threads_make_ten_thousand_processes_at_once() {
    let said = output_of(env!("CARGO_BIN_EXE_crowd"), &["at-once"]);
    assert_eq!(said, "10000 made, none left\n");
}

#[test]
fn no_zombie_is_left_by_children_that_are_killed() {
    within(DEADLINE, || {
        let template = new().setup(settled, ["x"]);
        let children: Vec<Child> =
            (0..50).map(|_| template.fork().unwrap().run(until_eof).unwrap()).collect();
        let parent = offshoot_tests::parent_of(children[0].id().unwrap()).unwrap();
        children.iter().for_each(|c| c.kill().unwrap());
        children.iter().for_each(|c| assert_eq!(c.wait().unwrap().signal(), Some(libc::SIGKILL)));
        // Told is reaped.
        assert!(children_of(parent).is_empty());
    });
}

#[offshoot::setup]
fn settled(_: offshoot::Args) {}
