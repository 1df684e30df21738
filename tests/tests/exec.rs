//! A faster fork+exec: external programs out of the small template.

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use offshoot::{Args, Process, Resource};
use offshoot_tests::report::Report;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

const SHOW: &str = env!("CARGO_BIN_EXE_show");

/// Signals 32 and 33 are the C library's own: it lets nobody touch them, so they stay
/// as whoever started the program has left them.
const C_LIBRARY: u64 = 0b11 << 31;

fn new() -> Process {
    Process::new().unwrap()
}

/// Executes, and gives back what came on standard output.
fn output(process: Process, args: &[&str]) -> String {
    let mut out = tempfile::tempfile().unwrap();
    let child = process.stdout(&out).exec(args).unwrap();
    assert!(child.wait().unwrap_or_else(|e| panic!("{e}")).success());
    let mut text = String::new();
    out.rewind().unwrap();
    out.read_to_string(&mut text).unwrap();
    text
}

/// All descriptors but the one that this library opens on the program's own file.
fn fds(report: &Report) -> Vec<i32> {
    let own = fs::canonicalize(SHOW).unwrap();
    let is_own = |fd: &i32| Path::new(report.get(&format!("fd {fd}"))) == own;
    report.fds().into_iter().filter(|fd| !is_own(fd)).collect()
}

fn report(process: Process) -> Report {
    Report::parse(&output(process, &[SHOW]))
}

#[test]
fn echo_writes_to_a_file() {
    within(DEADLINE, || {
        assert_eq!(output(new(), &["/bin/echo", "hi"]), "hi\n");
        // Strings that were sent become further arguments.
        let sent = new().send_arg("and").fork().unwrap().send_arg("more");
        assert_eq!(output(sent, &["/bin/echo", "hi"]), "hi and more\n");
    });
}

#[test]
fn a_program_has_the_descriptors_that_it_was_sent_and_no_others() {
    within(DEADLINE, || {
        assert_eq!(fds(&report(new())), [0, 1, 2]);
        let (null, dir) = (File::open("/dev/null").unwrap(), File::open("/usr").unwrap());
        let r = report(new().send_fd(&null).send_fd(&dir).send_fd(&null));
        assert_eq!(fds(&r), [0, 1, 2, 3, 4, 5]);
        assert_eq!((r.get("fd 3"), r.get("fd 4")), ("/dev/null", "/usr"));
        let many = (0..300).fold(new(), |p, n| p.send_fd(if n % 2 == 0 { &null } else { &dir }));
        let r = report(many);
        assert_eq!(fds(&r), (0..303).collect::<Vec<_>>());
        assert!(
            (0..300).all(|n| { r.get(&format!("fd {}", n + 3)) == ["/dev/null", "/usr"][n % 2] })
        );
    });
}

#[test]
fn a_program_has_the_settings_that_it_was_given() {
    within(DEADLINE, || {
        let r = report(
            new()
                .env_clear()
                .env("ONLY", "this")
                .current_dir("/usr")
                .umask(0o27)
                .nice(3)
                .process_group(0)
                .rlimit(Resource::Core, 0, 0),
        );
        assert_eq!((r.env_count(), r.env("ONLY")), (1, Some("this")));
        assert_eq!((r.get("directory"), r.get("Umask"), r.get("nice")), ("/usr", "0027", "3"));
        assert_eq!(r.get("group"), r.get("Pid"));
        assert_eq!(r.get("Max core file size"), "0 0");
        assert_eq!(r.get("Name"), "show", "the title is the program's own");
    });
}

#[test]
fn a_program_starts_with_default_signals() {
    within(DEADLINE, || {
        let status =
            Report::parse(&output(new(), &["cat", "/proc/self/status"]).replace('\t', " "));
        // SIGPIPE is among what a Rust program ignores.
        for set in ["SigIgn", "SigBlk", "SigCgt", "SigPnd"] {
            let set_bits = u64::from_str_radix(status.get(set), 16).unwrap();
            assert_eq!(set_bits & !C_LIBRARY, 0, "{set}: {set_bits:x}");
        }
    });
}

#[test]
fn a_name_without_a_slash_is_looked_up_in_the_path_of_the_process() {
    within(DEADLINE, || {
        assert_eq!(output(new(), &["echo", "found"]), "found\n");
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("of-our-own");
        fs::write(&program, "#!/bin/sh\necho from here\n").unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let there = || new().env("PATH", place.path());
        assert_eq!(output(there(), &["of-our-own"]), "from here\n");
        let error = there().exec(["echo"]).unwrap().wait().unwrap_err();
        assert!(error.is_exec() && error.raw_os_error() == Some(libc::ENOENT), "{error:?}");
    });
}

#[test]
fn a_program_that_cannot_be_executed_is_told_by_wait() {
    within(DEADLINE, || {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode| {
            let path = place.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path.into_os_string().into_string().unwrap()
        };
        let long = "x".repeat(1 << 20);
        for (args, errno) in [
            (vec!["/no/such/program".to_owned()], libc::ENOENT),
            (vec!["no-such-program-anywhere".to_owned()], libc::ENOENT),
            (vec![file("not-executable", "#!/bin/sh\n", 0o644)], libc::EACCES),
            (vec![file("bad-interpreter", "#!/no/such/interpreter\n", 0o755)], libc::ENOENT),
            (vec!["/usr".to_owned()], libc::EACCES),
            (vec!["/dev/null/x".to_owned()], libc::ENOTDIR),
            (vec!["/bin/echo".to_owned(), long], libc::E2BIG),
        ] {
            let child = new().exec(&args).unwrap();
            for _ in 0..2 {
                let error = child.wait().unwrap_err();
                assert!(error.is_exec(), "{error:?}");
                assert_eq!(error.raw_os_error(), Some(errno), "{error}");
                assert!(error.to_string().contains(&args[0]), "{error}");
            }
        }
    });
}

#[test]
fn what_is_no_argument_is_refused_at_once() {
    within(DEADLINE, || {
        for args in [&[][..], &[""], &["a\0b"], &["/bin/echo", "a\0b"]] {
            let error = new().exec(args).unwrap_err();
            assert!(error.to_string().contains("exec was given"), "{error}");
        }
        let error = new().send_arg("a\0b").exec(["/bin/echo"]).unwrap().wait().unwrap_err();
        assert!(error.is_exec(), "{error:?}");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    });
}

#[test]
fn the_stream_ends_when_the_program_has_begun() {
    within(DEADLINE, || {
        let (given, mut kept) = std::io::pipe().unwrap();
        let child = new().stdin(&given).exec(["cat"]).unwrap();
        drop(given);
        assert_eq!(child.stream().read(&mut [0]).unwrap(), 0);
        // It runs still: it has not seen the end of its input.
        assert_eq!(child.try_wait().unwrap(), None);
        kept.write_all(b"\n").unwrap();
        drop(kept);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn statuses_and_signals_of_programs_come_back() {
    within(DEADLINE, || {
        let status = |script| new().exec(["sh", "-c", script]).unwrap().wait().unwrap();
        assert_eq!(status("exit 127").code(), Some(127));
        assert_eq!(status("kill -USR1 $$").signal(), Some(libc::SIGUSR1));
        let child = new().exec(["sleep", "1000"]).unwrap();
        assert_eq!(child.stream().read(&mut [0]).unwrap(), 0);
        child.signal(libc::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    });
}

/// Opens a file, for whoever runs in this process, and changes what a program would
/// inherit.
#[offshoot::setup]
fn prepare(_: Args) {
    std::mem::forget(File::open("/dev/null").unwrap());
    // SAFETY: a template has one thread; SIGUSR2 is nobody's.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var("PREPARED", "yes");
        libc::signal(libc::SIGUSR2, libc::SIG_IGN);
    }
}

#[test]
fn a_prepared_template_executes_cleanly_too() {
    within(DEADLINE, || {
        let template = new().setup(prepare, [""; 0]);
        for _ in 0..3 {
            let r = report(template.fork().unwrap());
            assert_eq!(r.env("PREPARED"), Some("yes"));
            assert_eq!(fds(&r), [0, 1, 2]);
            assert_eq!(r.get("SigBlk"), "0000000000000000");
            let ignored = u64::from_str_radix(r.get("SigIgn"), 16).unwrap();
            // The program is one of Rust, which ignores SIGPIPE itself.
            assert_eq!(ignored & !C_LIBRARY, 1 << (libc::SIGPIPE - 1));
        }
    });
}
