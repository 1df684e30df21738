//! Programs that may be executed, but not read.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use offshoot_tests::program::on_each;
use offshoot_tests::run_command;

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");

fn without_proc() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    mount(Some("none"), "/proc", Some("tmpfs"), MsFlags::empty(), None::<&str>)
}

/// Root can read everything.
fn become_ordinary() -> Result<(), Errno> {
    if geteuid().is_root() {
        let (user, group) = (Uid::from_raw(4711), Gid::from_raw(4712));
        setgroups(&[])?;
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
    }
    Ok(())
}

/// Plays the scene in a copy of each program that nobody may read.
#[allow(unsafe_code)]
fn plays(scene: &'static str, before: fn() -> Result<(), Errno>) {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN], move |program| {
        let dir = tempfile::tempdir().expect("there is room");
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("it is ours");
        let copy = dir.path().join("program");
        // By another process: here, a sibling could inherit the file while it is open for
        // writing, and it could not be executed.
        let copied = Command::new("/bin/cp").arg(program).arg(&copy).status();
        assert!(copied.expect("it can be started").success());
        fs::set_permissions(&copy, Permissions::from_mode(0o111)).expect("it is ours");
        for early in ["0", "1"] {
            let mut command = Command::new(&copy);
            command.arg(scene).env("OFFSHOOT_EARLY", early).current_dir("/");
            // SAFETY: between fork and exec only system calls are made.
            unsafe {
                command.pre_exec(move || Ok(before().and_then(|()| become_ordinary())?));
            }
            let output = run_command(&mut command);
            assert!(output.status.success(), "{early}: {output:?}");
        }
    });
}

#[test]
fn a_program_that_cannot_be_read_is_executed_again() {
    plays("basic", || Ok(()));
}

/// Then only the name that it was started by leads to its file.
#[test]
#[allow(unsafe_code)]
fn a_program_that_cannot_be_read_is_executed_again_without_proc() {
    let mut probe = Command::new("/bin/true");
    // SAFETY: between fork and exec only system calls are made.
    unsafe { probe.pre_exec(|| Ok(without_proc()?)) };
    if let Err(e) = probe.status() {
        assert_eq!(e.kind(), std::io::ErrorKind::PermissionDenied, "{e}");
        return println!("skipped: /proc cannot be hidden here: {e}");
    }
    plays("no_proc", without_proc);
}
