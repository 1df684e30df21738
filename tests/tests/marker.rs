//! The variable that makes a program a template of itself: whatever is wrong with it
//! ends the program before main, with a message; and where there are privileges, it is
//! not looked at.

use std::fs::{self, File, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::geteuid;
use offshoot_tests::proc::huge_pages_refused;
use offshoot_tests::program::{copy_for_all, on_each};
use offshoot_tests::run_command;

const MARKER: &str = "OFFSHOOT_TEMPLATE";
const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");
const ALL: [&str; 3] = [MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN];

/// What a program calls its own build: a hash (FNV-1a) of its ELF header.
fn build(program: &str) -> String {
    let file = fs::read(program).expect("it can be read");
    let hash = file[..64].iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn pair(kind: SockType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).expect("a pair")
}

/// Has `fd` inherited by what the command starts, and by that alone.
#[allow(unsafe_code)]
fn inherit(command: &mut Command, fd: i32) {
    // SAFETY: between fork and exec one system call is made.
    unsafe {
        command.pre_exec(move || match libc::fcntl(fd, libc::F_SETFD, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

fn refused(output: &Output, why: &str) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{why}: {message}");
    assert!(message.contains(MARKER) && message.contains(why), "not `{why}`: {message}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "main has run");
}

#[test]
fn nonsense_is_refused() {
    on_each(&ALL, |program| {
        let build = build(program);
        let unused = "is not open";
        let all = [
            (String::new(), "not of the form"),
            ("garbage".into(), "not of the form"),
            (":".into(), "names no descriptor"),
            (format!("x:{build}"), "names no descriptor"),
            (format!("99999999999:{build}"), "names no descriptor"),
            ("5:".into(), "another build"),
            (format!("5:{}", "0".repeat(16)), "another build"),
            (format!("5:{build}0"), "another build"),
            (format!("-1:{build}"), unused),
            (format!("0:{build}"), unused),
            (format!("2:{build}"), unused),
            (format!("567:{build}"), unused),
        ];
        for (marker, why) in all {
            refused(&run_command(Command::new(program).arg("basic").env(MARKER, marker)), why);
        }
    });
}

#[test]
fn what_is_no_control_socket_is_refused() {
    on_each(&ALL, |program| {
        let file = OwnedFd::from(File::open("/dev/null").expect("it is there"));
        let (stream, _other) = pair(SockType::Stream);
        let (datagram, _other) = pair(SockType::Datagram);
        let (pipe, _other) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
        for fd in [file, stream, datagram, pipe] {
            let mut command = Command::new(program);
            let marker = format!("{}:{}", fd.as_raw_fd(), build(program));
            inherit(command.arg("basic").env(MARKER, marker), fd.as_raw_fd());
            refused(&run_command(&mut command), "not such a socket");
        }
    });
}

/// A command with a control socket of ours, and our end of it.
fn marked(program: &str, of_build: &str) -> (Command, OwnedFd, OwnedFd) {
    let (near, far) = pair(SockType::SeqPacket);
    let mut command = Command::new(program);
    let marker = format!("{}:{}", far.as_raw_fd(), build(of_build));
    inherit(command.arg("basic").env(MARKER, marker), far.as_raw_fd());
    (command, near, far)
}

/// The others show something only because this one is taken.
#[test]
fn a_marker_of_the_parent_is_taken() {
    on_each(&ALL, |program| {
        let (mut command, near, far) = marked(program, program);
        // At the end of the socket a template exits.
        drop(near);
        let output = run_command(&mut command);
        drop(far);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "main has run");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    });
}

#[test]
fn another_builds_marker_is_refused() {
    on_each(&[MAIN_CAUGHT], |program| {
        let (mut command, _near, _far) = marked(program, HOOK_SERVED);
        refused(&run_command(&mut command), "another build");
    });
}

#[test]
fn a_socket_that_somebody_else_has_made_is_refused() {
    on_each(&ALL, |program| {
        let (direct, _near, far) = marked(program, program);
        // The shell is the program's parent then, and stays it.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#""$0" basic; exit $?"#, program]);
        command.envs(direct.get_envs().filter_map(|(k, v)| Some((k, v?))));
        inherit(&mut command, far.as_raw_fd());
        refused(&run_command(&mut command), "not made by our parent");
    });
}

/// As when a program makes a template and becomes a daemon at once.
#[test]
#[allow(unsafe_code)]
fn a_marker_is_taken_whose_maker_has_ended_before() {
    const FAR: i32 = 100;
    on_each(&ALL, |program| {
        let mut command = Command::new(program);
        command.arg("basic").env(MARKER, format!("{FAR}:{}", build(program)));
        // SAFETY: between fork and exec only system calls are made, by one thread.
        unsafe {
            command.pre_exec(|| {
                let (near, far) = pair(SockType::SeqPacket);
                libc::dup2(far.as_raw_fd(), FAR);
                std::mem::forget(near);
                let maker = libc::getpid();
                if libc::fork() != 0 {
                    libc::_exit(0);
                }
                while libc::getppid() == maker {
                    libc::sched_yield();
                }
                Ok(())
            });
        }
        let output = run_command(&mut command);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "main has run");
    });
}

#[test]
fn another_users_socket_is_refused() {
    if !geteuid().is_root() {
        println!("skipped: only root can start programs as another user");
        return;
    }
    on_each(&ALL, |program| {
        let (_dir, copy) = copy_for_all(program);
        let (mut command, _near, _far) = marked(&copy, program);
        refused(&run_command(command.uid(4711).gid(4712)), "made by another user");
    });
}

#[test]
fn in_a_set_user_id_program_it_is_ignored_and_unset() {
    if !geteuid().is_root() {
        println!("skipped: only root can make a program set-user-ID to another user");
        return;
    }
    on_each(&ALL, |program| {
        for owner in [0, 4713] {
            let (_dir, copy) = copy_for_all(program);
            std::os::unix::fs::chown(&copy, Some(owner), None).expect("we are root");
            fs::set_permissions(&copy, Permissions::from_mode(0o4755)).expect("we are root");
            // Nor can the caller have it done without its early template.
            for variable in [None, Some((MARKER, "garbage")), Some(("OFFSHOOT_EARLY", "0"))] {
                let mut command = Command::new(&copy);
                command.arg("secure").uid(4711).gid(4712);
                command.envs(variable);
                let output = run_command(&mut command);
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}: {error}", output.status);
                match &*output.stdout {
                    b"secure\n" if program != NO_OPT_IN => {}
                    b"secure, without processes\n" if program == NO_OPT_IN => {}
                    b"not secure\n" => println!("skipped: mounted without set-user-ID"),
                    other => panic!("{}", String::from_utf8_lossy(other)),
                }
            }
        }
    });
}

#[test]
fn in_a_set_user_id_program_huge_pages_are_not_the_callers_affair() {
    if !geteuid().is_root() {
        println!("skipped: only root can make a program set-user-ID to another user");
        return;
    }
    on_each(&[MAIN_CAUGHT, HOOK_SERVED], |program| {
        let (_dir, copy) = copy_for_all(program);
        std::os::unix::fs::chown(&copy, Some(4713), None).expect("we are root");
        fs::set_permissions(&copy, Permissions::from_mode(0o4755)).expect("we are root");
        let said = |huge_pages: &str| {
            let mut command = Command::new(&copy);
            command.arg("secure_preloads").uid(4711).gid(4712);
            let output = run_command(command.env("OFFSHOOT_HUGE_PAGES", huge_pages));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("it is text").trim_end().to_owned()
        };
        let refused = huge_pages_refused();
        match &*said("1") {
            none @ ("0" | "not secure") => println!("skipped: {none}"),
            _ => assert!(said("0") != "0" || huge_pages_refused() > refused),
        }
    });
}

/// Gives the file a capability (CAP_NET_RAW), as setcap(8) does.
#[allow(unsafe_code)]
fn set_capability(path: &str) -> std::io::Result<()> {
    let words = [0x0200_0001u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes);
    let path = std::ffi::CString::new(path).expect("it has no NUL");
    let name = c"security.capability".as_ptr();
    // SAFETY: two strings, and a value of the length that is given.
    match unsafe { libc::setxattr(path.as_ptr(), name, words.as_ptr().cast(), 20, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[test]
fn executing_the_file_again_gives_no_privileges_back() {
    if !geteuid().is_root() {
        println!("skipped: only root can give privileges to a file");
        return;
    }
    on_each(&ALL, |program| {
        for capability in [false, true] {
            let (_dir, copy) = copy_for_all(program);
            if !capability {
                fs::set_permissions(&copy, Permissions::from_mode(0o6755)).expect("we are root");
            } else if let Err(e) = set_capability(&copy) {
                println!("skipped: no capabilities of files here: {e}");
                continue;
            }
            let mut command = Command::new(&copy);
            let output = run_command(command.arg("secure_later").env("OFFSHOOT_EARLY", "0"));
            // If main ran again, it would be without the privileges that it drops.
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {error}", output.status);
            let expected = if capability { "once\nwithout processes\n" } else { "once\n" };
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        }
    });
}
