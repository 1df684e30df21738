//! Setup functions that fail, names that do not exist, and what runs out.

use std::fs::File;
use std::io::{Read, Write};

use offshoot::{Args, Process, Resource};
use offshoot_tests::entries::{answer, answers, linger};
use offshoot_tests::probe::{
    Holdings, alone, children_of, closed_fd, fds_of, limit_descriptors, settled, template_of,
};
use offshoot_tests::{DEADLINE, eventually, runs, state, within};

offshoot::early!();

/// Writes its process id to what was sent, and fails in the way it is told.
#[offshoot::setup]
fn fail(args: Args) -> Result<(), String> {
    let mut queued = offshoot::run_args();
    if let Some(fd) = queued.fds.pop() {
        writeln!(File::from(fd.try_clone().unwrap()), "{}", std::process::id()).unwrap();
        // Kept until the end of the process: the reader sees when that is.
        std::mem::forget(fd);
    }
    match args.text().join(" ").as_str() {
        "err" => Err("no table called `users`".to_owned()),
        "panic" => panic!("index {} of {}", 7, 3),
        "panic with a number" => std::panic::panic_any(7),
        "exit" => std::process::exit(3),
        "be killed" => {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
            unreachable!("SIGKILL has no handler")
        }
        other => unreachable!("{other}"),
    }
}

#[offshoot::setup]
fn leave_a_thread(_: Args) {
    std::thread::spawn(std::thread::park);
}

fn works() {
    answers(Process::new().unwrap());
}

fn default_template() -> u32 {
    template_of(&Process::new().unwrap().run(linger).unwrap())
}

/// Lets a setup function fail, in a process that is run and in a template that is
/// forked again and again; gives back the texts of the errors.
fn failing_setup(how: &str, is_expected: fn(&offshoot::Error) -> bool) -> Vec<String> {
    let _alone = alone();
    let before = Holdings::of(default_template());
    let mut texts = Vec::new();
    for _ in 0..5 {
        let (mut seen, given) = std::io::pipe().unwrap();
        let process = Process::new().unwrap().send_fd(&given).setup(fail, [how]);
        let error = process.run(answer).unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        texts.push(error.to_string());

        let template = Process::new().unwrap().send_fd(&given).setup(fail, [how]);
        drop(given);
        for _ in 0..3 {
            let error = template.fork().unwrap().run(answer).unwrap_err();
            assert!(is_expected(&error), "{error:?}");
            texts.push(error.to_string());
        }
        drop(template);
        // To the end: nobody has the writing end any more.
        let mut pids = String::new();
        seen.read_to_string(&mut pids).unwrap();
        let pids: Vec<u32> = pids.lines().map(|l| l.parse().unwrap()).collect();
        assert_eq!(pids.len(), 2, "a setup function runs once: {pids:?}");
        for pid in pids {
            eventually(DEADLINE, "its process is reaped", || state(pid).is_none());
        }
    }
    before.assert_unchanged();
    works();
    texts
}

#[test]
fn the_error_of_a_setup_function_is_the_error_of_run() {
    within(DEADLINE, || {
        for text in failing_setup("err", offshoot::Error::is_setup) {
            assert!(text.contains("no table called `users`"), "{text}");
            assert!(text.contains("faults::fail"), "{text}");
        }
    });
}

#[test]
fn the_panic_of_a_setup_function_is_the_error_of_run() {
    within(DEADLINE, || {
        for text in failing_setup("panic", offshoot::Error::is_setup) {
            assert!(text.contains("it panicked: index 7 of 3"), "{text}");
        }
        for text in failing_setup("panic with a number", offshoot::Error::is_setup) {
            assert!(text.ends_with("it panicked"), "{text}");
        }
    });
}

#[test]
fn a_setup_function_that_ends_its_process_is_an_error_of_run() {
    within(DEADLINE, || {
        failing_setup("exit", offshoot::Error::is_disconnected);
        failing_setup("be killed", offshoot::Error::is_disconnected);
    });
}

#[test]
fn a_template_with_a_thread_cannot_be_forked_but_a_process_can_be_run() {
    within(DEADLINE, || {
        let _alone = alone();
        let before = Holdings::of(default_template());
        let template = Process::new().unwrap().setup(leave_a_thread, [""; 0]);
        for _ in 0..3 {
            let error = template.fork().unwrap().run(answer).unwrap().wait().unwrap_err();
            assert!(error.is_threaded(), "{error:?}");
            assert!(error.to_string().contains("2 threads"), "{error}");
        }
        drop(template);
        let child = Process::new().unwrap().setup(leave_a_thread, [""; 0]).run(answer).unwrap();
        assert!(child.wait().unwrap().success());
        drop(child);
        before.assert_unchanged();
    });
}

#[test]
fn an_unknown_name_is_refused_before_anything_is_sent() {
    within(DEADLINE, || {
        let error =
            Process::new().unwrap().run_named("offshoot_tests::entries::anwser").unwrap_err();
        assert!(error.is_unknown_name(), "{error:?}");
        assert!(
            error.to_string().contains("did you mean `offshoot_tests::entries::answer`"),
            "{error}"
        );
        // A setup function is no entry.
        let error = Process::new().unwrap().run_named("faults::fail").unwrap_err();
        assert!(error.is_unknown_name(), "{error:?}");
        assert!(
            Process::new()
                .unwrap()
                .run_named("offshoot_tests::entries::answer")
                .unwrap()
                .wait()
                .is_ok()
        );
    });
}

#[test]
fn a_closed_descriptor_comes_out_at_run() {
    within(DEADLINE, || {
        let process = Process::new().unwrap().send_arg("x").send_fd(closed_fd()).send_arg("y");
        let error = process.fork().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error:?}");
        let error = process.run(answer).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error:?}");
        let error = Process::new().unwrap().stdout(closed_fd()).run(answer).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{error:?}");
        works();
    });
}

#[test]
fn a_template_without_room_for_descriptors_says_so_and_goes_on() {
    within(DEADLINE, || {
        let template = settled(Process::new().unwrap().rlimit(Resource::OpenFiles, 16, 16));
        let lingering = template.fork().unwrap().run(linger).unwrap();
        let pid = template_of(&lingering);
        drop(lingering);
        eventually(DEADLINE, "it is alone", || children_of(pid).is_empty());
        let held = fds_of(pid);
        let null = File::open("/dev/null").unwrap();
        // Attached to the message itself, and in a parcel.
        for count in [20, 240, 400] {
            let many = (0..count).fold(template.fork().unwrap(), |p, _| p.send_fd(&null));
            let error = many.run(answer).unwrap().wait().unwrap_err();
            assert!(error.is_resource(), "{count}: {error:?}");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{count}: {error}");
            // It closes those that did arrive just after it has answered.
            eventually(DEADLINE, "nothing kept of them", || fds_of(pid) == held);
            let few = template.fork().unwrap().send_fd(&null).run(answer).unwrap();
            assert!(few.wait().unwrap().success());
        }
        eventually(DEADLINE, "it is alone again", || children_of(pid).is_empty());
    });
}

#[test]
fn a_template_with_room_for_one_descriptor_or_none_survives_a_question_for_a_pidfd() {
    if !offshoot::doctor().pidfd {
        println!("skipped: there are no process descriptors here");
        return;
    }
    within(DEADLINE, || {
        let template = settled(Process::new().unwrap());
        let child = template.fork().unwrap().run(linger).unwrap();
        let pid = template_of(&child);
        let held = fds_of(pid);
        let free = (0..).find(|fd| !held.contains(fd)).unwrap();
        let is_emfile = |error: offshoot::Error| {
            assert!(error.is_resource(), "{error:?}");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
        };
        for _ in 0..3 {
            limit_descriptors(pid, free);
            is_emfile(child.pidfd().unwrap_err());
            child.signal(0).expect("its template still answers");
            is_emfile(template.fork().unwrap().run(answer).unwrap().wait().unwrap_err());
            limit_descriptors(pid, free + 1);
            child.pidfd().expect("there is room for it");
            answers(template.fork().unwrap());
        }
        eventually(DEADLINE, "nothing kept of all that", || fds_of(pid) == held);
    });
}

#[test]
fn a_process_without_memory_for_its_argument_says_so() {
    within(DEADLINE, || {
        let limit = 192 << 20;
        let template =
            settled(Process::new().unwrap().rlimit(Resource::AddressSpace, limit, limit));
        let arg = vec![b'x'; 256 << 20];
        let child = template.fork().unwrap().send_arg(&arg).run(answer).unwrap();
        drop(arg);
        let error = child.wait().unwrap_err();
        assert!(error.is_resource(), "{error:?}");
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{error}");
        let child = template.fork().unwrap().send_arg([b'x'; 100_000]).run(answer).unwrap();
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_dead_template_is_an_error_of_its_forks_and_of_nothing_else() {
    within(DEADLINE, || {
        let template = settled(Process::new().unwrap());
        let lingering = template.fork().unwrap().run(linger).unwrap();
        let pid = template_of(&lingering);
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid as i32),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        assert!(lingering.wait().unwrap_err().is_disconnected());
        for _ in 0..3 {
            let error = template.fork().unwrap().run(answer).unwrap_err();
            assert!(error.is_disconnected(), "{error:?}");
        }
        assert!(template.into_fd().unwrap_err().is_disconnected());
        eventually(DEADLINE, "it is gone", || !runs(pid));
        works();
    });
}

#[test]
fn a_program_without_room_for_what_it_was_sent_is_not_executed() {
    within(DEADLINE, || {
        let null = File::open("/dev/null").unwrap();
        let [mut executed, mut refused] = [0, 0];
        for limit in 3..20 {
            let process = Process::new().unwrap().rlimit(Resource::OpenFiles, limit, limit);
            let process = (0..3).fold(process, |p, _| p.send_fd(&null));
            // Its loader may have no room for libraries.
            match process.exec(["/bin/true"]).unwrap().wait() {
                Ok(status) if status.success() || status.code() == Some(127) => executed += 1,
                Ok(status) => panic!("{limit}: {status}"),
                Err(error) => {
                    assert!(error.is_exec(), "{limit}: {error:?}");
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{limit}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(executed > 0 && refused > 0, "{executed} {refused}");
    });
}
