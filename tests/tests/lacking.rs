//! Programs in kernels and containers without pidfd_open, close_range, MADV_COLLAPSE,
//! clone3 or unshare: they say so, and whatever they do, they do without.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use offshoot_tests::lacking::{BOTH, Lacking, can_be_played};
use offshoot_tests::program::{Program, Watched, at_once, on_each};
use offshoot_tests::{DEADLINE, output_of, run_command, within};

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");
const ALL: [&str; 3] = [MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN];

fn road(program: &str) -> &'static str {
    match program {
        MAIN_CAUGHT => "MainCaught",
        HOOK_SERVED => "HookServed",
        _ => "ReExec",
    }
}

fn said(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// What each program says where this and that are lacking.
fn everywhere(check: impl Fn(Lacking, &str) + Send + 'static) {
    if can_be_played() {
        on_each(&ALL, move |program| BOTH.into_iter().for_each(|lacking| check(lacking, program)));
    }
}

fn plays(lacking: Lacking, program: &str, scene: &str) -> String {
    said(&run_command(&mut lacking.command(program, &[scene])))
}

#[test]
fn the_doctor_says_what_is_lacking_and_everything_works() {
    everywhere(|lacking, program| {
        let report = plays(lacking, program, "report");
        let line = "\nkernel:      pidfd no, MADV_COLLAPSE no, close_range no\n";
        assert!(report.contains(line), "{report}");
        assert!(report.contains("\nthreads when the hook ran: 1\n"), "{report}");
        assert_eq!(plays(lacking, program, "basic"), format!("main {}\n", road(program)));
        assert_eq!(plays(lacking, program, "start_up"), "1\n");
        assert_eq!(plays(lacking, program, "preloaded"), "none here\n");
        assert_eq!(plays(lacking, program, "pidfd"), format!("{}\n", lacking.no_pidfd()));
    });
}

/// The number that a system call gives, or minus its errno.
#[allow(unsafe_code)]
fn directly(call: libc::c_long, [a, b, c]: [libc::c_long; 3]) -> i64 {
    // SAFETY: of those that are called here, none touches memory, or closes what is open.
    match unsafe { libc::syscall(call, a, b, c) } {
        -1 => -i64::from(io::Error::last_os_error().raw_os_error().expect("it is the system's")),
        n => n,
    }
}

#[test]
fn the_doctor_says_what_the_kernel_says() {
    let pidfd = directly(libc::SYS_pidfd_open, [i64::from(std::process::id()), 0, 0]);
    let ranges = directly(libc::SYS_close_range, [i64::from(u32::MAX), i64::from(u32::MAX), 0]);
    let collapse = directly(libc::SYS_madvise, [0, 0, 25]);
    let word = |number: i64| if number >= 0 { "yes" } else { "no" };
    let line = format!(
        "\nkernel:      pidfd {}, MADV_COLLAPSE {}, close_range {}\n",
        word(pidfd),
        word(collapse),
        word(ranges)
    );
    on_each(&ALL, move |program| {
        let report = output_of(program, &["report"]);
        assert!(report.contains(&line), "{report} is to say {line}");
        assert_eq!(output_of(program, &["pidfd"]), format!("{}\n", -pidfd.min(0)));
        output_of(program, &["two_threads"]);
    });
}

#[test]
fn a_bit_of_everything_works_without() {
    if !can_be_played() {
        return;
    }
    let programs = [env!("CARGO_BIN_EXE_instrumented"), env!("CARGO_BIN_EXE_instrumented_early")];
    on_each(&programs, |program| {
        for lacking in BOTH {
            for early in ["0", "1"] {
                let mut command = lacking.command(program, &[]);
                let said = said(&run_command(command.env("OFFSHOOT_EARLY", early)));
                let why = io::Error::from_raw_os_error(lacking.no_pidfd());
                assert!(said.starts_with("pidfd: ") && said.contains(&why.to_string()), "{said}");
                assert!(said.ends_with("\ndone\n"), "{said}");
            }
        }
    });
}

#[test]
fn a_daemon_finds_out_by_other_means_that_its_parent_has_gone() {
    everywhere(|lacking, program| {
        let mut daemon = Program::start(&mut lacking.command(program, &["daemon"]));
        let pid = daemon.expect("at daemon ");
        let pid = pid.split(' ').next().and_then(|p| p.parse().ok()).expect("a pid");
        Watched::new(pid).signal(nix::sys::signal::Signal::SIGKILL);
        daemon.nobody_left(at_once());

        let mut late = Program::start(&mut lacking.command(program, &["daemon_late"]));
        assert_eq!(late.nobody_left(DEADLINE), format!("{}\n", road(program)));

        let mut early = Program::start(&mut lacking.command(program, &["daemon_early"]));
        assert_eq!(early.nobody_left(DEADLINE), "done\n");
    });
}

#[test]
fn a_fork_finds_out_by_other_means_that_its_parent_is_there() {
    everywhere(|lacking, program| {
        plays(lacking, program, "both");
        let road = format!("{}\n", road(program));
        assert_eq!(plays(lacking, program, "asks_first"), road);
    });
}

#[test]
fn threads_are_counted_by_other_means() {
    everywhere(|lacking, program| {
        plays(lacking, program, "two_threads");
    });
}

/// No unshare to ask, and no /proc to look at: then there is one thread.
#[test]
#[allow(unsafe_code)]
fn there_is_no_proc_either() {
    if !can_be_played() {
        return;
    }
    within(DEADLINE, || {
        for program in ALL {
            for early in ["0", "1"] {
                let mut command = Command::new(program);
                command.arg("no_proc").env("OFFSHOOT_EARLY", early);
                // SAFETY: between fork and exec only system calls are made.
                unsafe {
                    command.pre_exec(|| {
                        unshare(CloneFlags::CLONE_NEWNS)?;
                        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
                        let none = MsFlags::empty();
                        mount(Some("none"), "/proc", Some("tmpfs"), none, None::<&str>)?;
                        Ok(())
                    });
                }
                Lacking::Container.place(&mut command).stdout(std::process::Stdio::null());
                match command.spawn() {
                    Err(e) => {
                        assert_eq!(e.kind(), io::ErrorKind::PermissionDenied, "{e}");
                        println!("skipped: /proc cannot be hidden here: {e}");
                    }
                    Ok(mut child) => assert!(child.wait().expect("it is ours").success()),
                }
            }
        }
    });
}
