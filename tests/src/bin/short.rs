//! A program that runs out of descriptors, or of processes.

use std::fs::File;

use nix::sys::resource::{Resource as Limit, setrlimit};
use offshoot::{Process, Resource};
use offshoot_tests::entries::{answer, answers, linger};
use offshoot_tests::open_fds;
use offshoot_tests::probe::settled;

fn works() {
    answers(Process::new().unwrap());
}

/// As many as there is room for.
fn fill() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn is_emfile<T>(result: Result<T, offshoot::Error>) {
    let Err(error) = result else { panic!("there should be no room for this") };
    assert!(error.is_resource(), "{error:?}");
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
}

fn descriptors() {
    setrlimit(Limit::RLIMIT_NOFILE, 64, 64).unwrap();
    works();
    let child = Process::new().unwrap().run(linger).unwrap();
    // It keeps one, to know the end of the process when the template is killed.
    child.pidfd().unwrap();
    let before = open_fds().len();
    for _ in 0..20 {
        let mut filled = fill();
        is_emfile(Process::new().unwrap().run(answer));
        is_emfile(Process::new().unwrap().into_fd());
        is_emfile(Process::new().unwrap().send_fd(&filled[0]).run(answer));
        // The template has room for it, we have not.
        is_emfile(child.pidfd());
        // Room for one of the two ends.
        drop(filled.pop());
        is_emfile(Process::new().unwrap().run(answer));
        drop(filled.pop());
        works();
        drop(filled);
        assert_eq!(open_fds().len(), before);
        works();
        child.pidfd().unwrap();
    }
}

fn processes() {
    let most = 12;
    let template = settled(Process::new().unwrap().rlimit(Resource::Processes, most, most));
    let mut children = Vec::new();
    for _ in 0..5 {
        let error = loop {
            let child = template.fork().unwrap().run(linger).unwrap();
            match child.id() {
                Ok(_) => children.push(child),
                Err(error) => break error,
            }
            assert!(children.len() <= most as usize);
        };
        assert!(error.is_resource(), "{error:?}");
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN), "{error}");
        // Room for one.
        let leaver = children.pop().expect("some could be made");
        leaver.stream().shutdown(std::net::Shutdown::Both).unwrap();
        assert!(leaver.wait().unwrap().success());
        let child = template.fork().unwrap().run(answer).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

#[offshoot::main]
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("descriptors") => descriptors(),
        Some("processes") => processes(),
        other => panic!("no such scenario: {other:?}"),
    }
}
