//! A program that runs out of descriptors, or of processes; or that had none to begin with.

use std::fs::{File, Permissions, set_permissions};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;

use nix::sys::resource::{Resource as Limit, getrlimit, setrlimit};
use offshoot::{Process, Resource, Road};
use offshoot_tests::block_on::block_on;
use offshoot_tests::entries::{answer, answers, linger};
use offshoot_tests::open_fds;
use offshoot_tests::probe::{children_of, inherited_fd, settled, template_of};

fn new() -> Process {
    Process::new().unwrap()
}

fn works() {
    answers(new());
}

/// What does not fit a message.
fn large() -> Process {
    new().send_arg([b'x'; 100_000])
}

/// As many as there is room for.
fn fill() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn is_short<T>(errno: i32, result: Result<T, offshoot::Error>) {
    let Err(error) = result else { panic!("there should be no room for this") };
    assert!(error.is_resource(), "{error:?}");
    assert_eq!(error.raw_os_error(), Some(errno), "{error}");
}

fn is_emfile<T>(result: Result<T, offshoot::Error>) {
    is_short(libc::EMFILE, result);
}

fn is_eagain<T>(result: Result<T, offshoot::Error>) {
    is_short(libc::EAGAIN, result);
}

/// Whether new processes come from a template that was there before main.
fn early() -> bool {
    offshoot::doctor().road != Road::ReExec
}

fn descriptors() {
    setrlimit(Limit::RLIMIT_NOFILE, 64, 64).unwrap();
    if !early() {
        // The template itself has to be made.
        let before = (open_fds(), children_of(std::process::id()));
        let mut filled = fill();
        for _ in 0..2 {
            is_emfile(new().run(answer));
            is_emfile(Process::new_exec());
            drop(filled.pop());
        }
        drop(filled);
        assert_eq!((open_fds(), children_of(std::process::id())), before);
    }
    works();
    let child = new().run(linger).unwrap();
    // It keeps one, to know the end of the process when the template is killed.
    child.pidfd().unwrap();
    let before = open_fds().len();
    for _ in 0..20 {
        let mut filled = fill();
        is_emfile(new().run(answer));
        is_emfile(new().into_fd());
        is_emfile(new().send_fd(&filled[0]).run(answer));
        // The template has room for it, we have not.
        is_emfile(child.pidfd());
        // Room for one of the two ends.
        drop(filled.pop());
        is_emfile(new().run(answer));
        // For both, but not for a file.
        drop(filled.pop());
        is_emfile(large().run(answer));
        works();
        drop(filled.pop());
        answers(large());
        drop(filled);
        assert_eq!(open_fds().len(), before);
        works();
        child.pidfd().unwrap();
    }
}

/// The background thread needs two descriptors.
fn background() {
    setrlimit(Limit::RLIMIT_NOFILE, 64, 64).unwrap();
    let child = new().run(linger).unwrap();
    child.id().unwrap();
    let before = open_fds().len();
    let mut filled = fill();
    for _ in 0..2 {
        is_emfile(child.exited_receiver().recv().expect("one message comes"));
        is_emfile(block_on(child.exited()));
        drop(filled.pop());
        assert_eq!(open_fds().len(), before + filled.len());
    }
    let (receiver, exited) = (child.exited_receiver(), child.exited());
    drop(filled);
    child.stream().shutdown(Shutdown::Both).unwrap();
    assert!(receiver.recv().unwrap().unwrap().success());
    assert!(block_on(exited).unwrap().success());
    assert_eq!(open_fds().len(), before + 2);
}

fn processes() {
    let most = 12;
    let template = settled(new().rlimit(Resource::Processes, most, most));
    let mut children = Vec::new();
    let before = open_fds().len();
    let own = children_of(std::process::id());
    let mut pid = 0;
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
        // Each has its stream.
        assert_eq!(open_fds().len(), before + children.len());
        pid = template_of(&children[0]);
        assert_eq!(children_of(pid).len(), children.len());
        // Room for one.
        let leaver = children.pop().expect("some could be made");
        leaver.stream().shutdown(Shutdown::Both).unwrap();
        assert!(leaver.wait().unwrap().success());
        drop(leaver);
        let child = template.fork().unwrap().run(answer).unwrap();
        assert!(child.wait().unwrap().success());
    }
    for child in children.drain(..) {
        child.stream().shutdown(Shutdown::Both).unwrap();
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(open_fds().len(), before);
    assert_eq!((children_of(pid).len(), children_of(std::process::id())), (0, own));
}

/// The program itself may start no process, nor thread.
fn own_limit() {
    let (_, hard) = getrlimit(Limit::RLIMIT_NPROC).unwrap();
    let allow = |most| setrlimit(Limit::RLIMIT_NPROC, most, hard).unwrap();
    let held = || (open_fds(), children_of(std::process::id()));
    if !early() {
        let before = held();
        allow(0);
        for _ in 0..3 {
            is_eagain(Process::new_exec());
            is_eagain(new().run(answer));
            is_eagain(new().into_fd());
        }
        assert_eq!(held(), before);
        allow(hard);
    }
    let child = new().run(linger).unwrap();
    child.id().unwrap();
    let before = held();
    allow(0);
    is_eagain(child.exited_receiver().recv().expect("one message comes"));
    is_eagain(block_on(child.exited()));
    assert_eq!(held(), before);
    // Made by two forks; the last limit but one has room for the first of them.
    let mut most = 0;
    let snapshot = loop {
        match Process::snapshot() {
            Ok(snapshot) => break snapshot,
            error => is_eagain(error),
        }
        assert_eq!(held(), before);
        most += 1;
        allow(most);
    };
    assert!(most > 1);
    allow(hard);
    answers(snapshot.fork().unwrap());
    answers(snapshot);
    let receiver = child.exited_receiver();
    child.stream().shutdown(Shutdown::Both).unwrap();
    assert!(receiver.recv().unwrap().unwrap().success());
}

/// Started where it may start no process, or no more than one. Its processes have the
/// limits that it was started with, whatever they are now.
fn at_limit() {
    println!("{:?}: {}", offshoot::doctor().road, offshoot::doctor().reason);
    let (_, hard) = getrlimit(Limit::RLIMIT_NPROC).unwrap();
    is_eagain(new().run(answer).and_then(|child| child.wait()));
    setrlimit(Limit::RLIMIT_NPROC, hard, hard).unwrap();
    is_eagain(new().run(answer).and_then(|child| child.wait()));
    is_eagain(Process::new_exec().and_then(|p| p.run(answer)).and_then(|child| child.wait()));
}

/// Started with descriptors that leave room for one.
fn full() {
    println!("{:?}: {}", offshoot::doctor().road, offshoot::doctor().reason);
    is_emfile(new().run(answer));
    drop([3, 4, 5, 6].map(inherited_fd));
    works();
    answers(Process::new_exec().unwrap());
}

/// Its own file may not be executed any more.
fn not_executable() {
    let path = std::env::args().nth(2).expect("its path");
    let allow = |mode| set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    let held = || (open_fds(), children_of(std::process::id()));
    allow(0o644);
    // The first who needs a template makes what the library keeps.
    assert!(Process::new_exec().is_err());
    let before = held();
    for _ in 0..3 {
        for error in [Process::new_exec().map(drop), new().run(answer).map(drop)] {
            let error = error.expect_err("it cannot be executed");
            assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error:?}");
            assert!(error.to_string().contains("executing the program's own file"), "{error}");
        }
        assert_eq!(held(), before);
    }
    allow(0o755);
    works();
}

#[offshoot::main]
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("descriptors") => descriptors(),
        Some("background") => background(),
        Some("processes") => processes(),
        Some("own_limit") => own_limit(),
        Some("at_limit") => at_limit(),
        Some("full") => full(),
        Some("not_executable") => not_executable(),
        other => panic!("no such scenario: {other:?}"),
    }
}
