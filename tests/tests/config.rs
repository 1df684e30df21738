//! Configuration steps, seen from inside the process that they configure.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{Read, Seek, Write};

use offshoot::{Args, Child, Error, Process, Resource, Start};
use offshoot_tests::report::{Report, of_this_process};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::entry]
fn tell(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(of_this_process().as_bytes())
}

fn said(child: &Child) -> String {
    let mut said = String::new();
    child.stream().read_to_string(&mut said).unwrap();
    child.wait().unwrap_or_else(|e| panic!("{e}"));
    said
}

fn report(process: Process) -> Report {
    Report::parse(&said(&process.run(tell).unwrap()))
}

fn new() -> Process {
    Process::new().unwrap()
}

/// Whether this test can become other users.
fn root() -> bool {
    let root = nix::unistd::getuid().is_root();
    if !root {
        println!("skipped: only root can become another user");
    }
    root
}

#[test]
fn the_environment_is_changed_in_order() {
    within(DEADLINE, || {
        let r = report(new().env("A", "1").env("B", "2").env("A", "3").env_remove("B"));
        assert_eq!((r.env("A"), r.env("B")), (Some("3"), None));
        assert!(r.env("PATH").is_some(), "the rest is that of the program");
        let r = report(new().env("A", "1").env_clear().env("C", "x=y").env("E", ""));
        assert_eq!((r.env("A"), r.env("C"), r.env("E")), (None, Some("x=y"), Some("")));
        assert_eq!(r.env_count(), 2);
    });
}

#[test]
fn a_relative_directory_counts_from_the_one_before() {
    within(DEADLINE, || {
        assert_eq!(
            report(new().current_dir("/proc").current_dir("self/..")).get("directory"),
            "/proc"
        );
        assert_eq!(report(new().current_dir("/").current_dir("usr")).get("directory"), "/usr");
    });
}

#[test]
fn limits_umask_niceness_and_group_are_set() {
    within(DEADLINE, || {
        let r = report(
            new()
                .rlimit(Resource::OpenFiles, 50, 60)
                .rlimit(Resource::Core, 0, 4096)
                .rlimit(Resource::Cpu, 100, u64::MAX)
                .umask(0o7027)
                .nice(7)
                .process_group(0),
        );
        assert_eq!(r.get("Max open files"), "50 60");
        assert_eq!(r.get("Max core file size"), "0 4096");
        assert_eq!(r.get("Max cpu time"), "100 unlimited");
        assert_eq!(r.get("Umask"), "0027");
        assert_eq!(r.get("nice"), "7");
        assert_eq!(r.get("group"), r.get("Pid"));
        // A limit that is lowered first can be moved up to its hard one.
        let r =
            report(new().rlimit(Resource::OpenFiles, 20, 60).rlimit(Resource::OpenFiles, 60, 60));
        assert_eq!(r.get("Max open files"), "60 60");
    });
}

#[test]
fn every_resource_is_the_one_that_it_is_called() {
    within(DEADLINE, || {
        for (resource, name) in [
            (Resource::Cpu, "Max cpu time"),
            (Resource::FileSize, "Max file size"),
            (Resource::Data, "Max data size"),
            (Resource::Stack, "Max stack size"),
            (Resource::Core, "Max core file size"),
            (Resource::Processes, "Max processes"),
            (Resource::OpenFiles, "Max open files"),
            (Resource::LockedMemory, "Max locked memory"),
            (Resource::AddressSpace, "Max address space"),
            (Resource::MessageQueues, "Max msgqueue size"),
            (Resource::PendingSignals, "Max pending signals"),
        ] {
            let now = report(new());
            let (_, hard) = now.get(name).split_once(' ').unwrap();
            let hard = hard.parse().unwrap_or(u64::MAX);
            let soft = hard.min(1 << 34) - 1;
            let r = report(new().rlimit(resource, soft, hard));
            assert!(r.get(name).starts_with(&format!("{soft} ")), "{name}: {}", r.get(name));
        }
    });
}

#[test]
fn user_and_group_are_set_and_supplementary_groups_dropped() {
    within(DEADLINE, || {
        if !root() {
            return;
        }
        let r = report(new().gid(12_345).uid(54_321));
        assert_eq!(r.get("Uid"), "54321 54321 54321 54321");
        assert_eq!(r.get("Gid"), "12345 12345 12345 12345");
        assert_eq!(r.get("Groups"), "");
        assert_eq!(r.get("CapEff"), "0000000000000000");
    });
}

#[test]
fn titles_are_seen_by_ps_and_do_not_touch_the_arguments() {
    within(DEADLINE, || {
        let own: Vec<String> = std::env::args().collect();
        let r = report(new());
        assert_eq!(r.get("Name"), "tell");
        assert!(r.get("title").starts_with("offshoot: config::tell of "), "{}", r.get("title"));
        assert_eq!(r.get("arguments"), format!("{own:?}"));
        let r = report(new().title("a title longer than comm"));
        assert_eq!(r.get("Name"), "a title longer", "15 bytes, the last of which is a space");
        assert_eq!(r.get("title"), "a title longer than comm");
        assert_eq!(r.get("arguments"), format!("{own:?}"));
        let long = "x".repeat(1 << 20);
        assert!(long.starts_with(report(new().title(&long)).get("title")));
    });
}

#[offshoot::entry]
fn copy(_: Start) -> std::io::Result<()> {
    eprintln!("to stderr");
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).map(drop)
}

#[test]
fn standard_streams_are_what_they_are_made() {
    within(DEADLINE, || {
        let (mut input, mut out) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let (mut errors, given) = std::io::pipe().unwrap();
        input.write_all(b"through it").unwrap();
        input.rewind().unwrap();
        let child = new().stdin(&input).stdout(&out).stderr(&given).run(copy).unwrap();
        drop(given);
        assert!(child.wait().unwrap().success());
        let (mut copied, mut error) = (String::new(), String::new());
        out.rewind().unwrap();
        out.read_to_string(&mut copied).unwrap();
        errors.read_to_string(&mut error).unwrap();
        assert_eq!((copied.as_str(), error.as_str()), ("through it", "to stderr\n"));
        // The last one counts.
        let null = File::open("/dev/null").unwrap();
        assert_eq!(report(new().stdin(&input).stdin(&null)).get("fd 0"), "/dev/null");
    });
}

/// Puts down what it sees at its place among the steps.
#[offshoot::setup]
fn note(args: Args) {
    let place = &args.text()[0];
    let now = format!("{:?} {:?}", std::env::var("STEP").ok(), std::env::current_dir().unwrap());
    // SAFETY: a template has one thread.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var(place, now);
    }
}

#[test]
fn setup_functions_run_at_their_place_among_the_steps() {
    within(DEADLINE, || {
        let r = report(
            new()
                .setup(note, ["FIRST"])
                .env("STEP", "one")
                .current_dir("/usr")
                .setup(note, ["SECOND"])
                .env("STEP", "two")
                .setup(note, ["THIRD"]),
        );
        assert!(r.env("FIRST").unwrap().starts_with("None"), "{r:?}");
        assert_eq!(r.env("SECOND"), Some("Some(\"one\") \"/usr\""));
        assert_eq!(r.env("THIRD"), Some("Some(\"two\") \"/usr\""));
    });
}

fn failure(process: Process) -> Error {
    let error = process.run(tell).unwrap().wait().unwrap_err();
    assert!(error.is_config(), "{error:?}");
    error
}

#[test]
fn a_step_that_fails_is_told_by_wait() {
    within(DEADLINE, || {
        let error = failure(new().current_dir("/no/such/place"));
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert!(error.to_string().contains("/no/such/place"), "{error}");
        assert!(error.to_string().contains("No such file"), "{error}");
        let error = failure(new().current_dir("/dev/null"));
        assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR));
        let error = failure(new().rlimit(Resource::Core, 2, 1));
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        let error = failure(new().process_group(-1));
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        // Of the steps before the one that fails nothing is left: the next is new.
        assert_eq!(report(new()).env("X"), None);
    });
}

#[test]
fn a_step_that_is_not_permitted_is_told_by_wait() {
    within(DEADLINE, || {
        if !root() {
            return;
        }
        let nobody = || new().rlimit(Resource::Core, 1, 1).gid(65_534).uid(65_534);
        let errno = |process| failure(process).raw_os_error();
        assert_eq!(errno(nobody().rlimit(Resource::Core, 1, 2)), Some(libc::EPERM));
        assert_eq!(errno(nobody().nice(-5)), Some(libc::EACCES));
        assert_eq!(errno(nobody().gid(0)), Some(libc::EPERM));
        assert_eq!(errno(nobody().uid(0)), Some(libc::EPERM));
        // In another session.
        assert_eq!(errno(new().process_group(1)), Some(libc::EPERM));
    });
}

#[test]
fn a_template_that_could_not_be_configured_tells_its_forks() {
    within(DEADLINE, || {
        let template = new().current_dir("/no/such/place").setup(note, ["X"]);
        for _ in 0..3 {
            let error = template.fork().unwrap().run(tell).unwrap_err();
            assert!(error.is_config(), "{error:?}");
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        }
    });
}

#[test]
fn arguments_that_cannot_be_come_out_at_run() {
    within(DEADLINE, || {
        for (process, text) in [
            (new().env("A\0B", "x"), "has a NUL"),
            (new().env("A", "x\0"), "has a NUL"),
            (new().env("A=B", "x"), "`A=B` cannot be the name"),
            (new().env("", "x"), "`` cannot be the name"),
            (new().env_remove("A="), "`A=` cannot be the name"),
            (new().env_remove("A\0"), "has a NUL"),
            (new().current_dir("/a\0b"), "working directory has a NUL"),
            (new().parent_death_signal(0), "0 is not a signal"),
            (new().parent_death_signal(65), "65 is not a signal"),
            (new().parent_death_signal(-9), "-9 is not a signal"),
        ] {
            // The first one counts, and a fork has it too.
            let process = process.env("=", "second");
            for error in [process.fork().unwrap_err(), process.run(tell).unwrap_err()] {
                assert!(error.to_string().contains(text), "{error}");
            }
        }
        for number in [-1, 65, 1 << 20] {
            let error = new().run(tell).unwrap().signal(number).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
    });
}

#[offshoot::entry]
fn hash(mut start: Start) -> std::io::Result<()> {
    write!(start.stream, "{}", RandomState::new().hash_one(0))
}

#[test]
fn hash_maps_of_siblings_have_keys_of_their_own() {
    within(DEADLINE, || {
        let template = new().setup(note, ["X"]);
        let hashes: std::collections::BTreeSet<String> =
            (0..10).map(|_| said(&template.fork().unwrap().run(hash).unwrap())).collect();
        assert_eq!(hashes.len(), 10);
    });
}
