//! Programs that are started in odd ways, or lose their file: which road their
//! processes take, and that it works.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use offshoot_tests::program::on_each;
use offshoot_tests::{output_of, run_command};

const MAIN_CAUGHT: &str = env!("CARGO_BIN_EXE_main_caught");
const HOOK_SERVED: &str = env!("CARGO_BIN_EXE_hook_served");
const NO_OPT_IN: &str = env!("CARGO_BIN_EXE_no_opt_in");
const ALL: [&str; 3] = [MAIN_CAUGHT, HOOK_SERVED, NO_OPT_IN];

fn said(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// The road that a program takes if nothing is odd.
fn road(program: &str) -> &'static str {
    match program {
        MAIN_CAUGHT => "MainCaught",
        HOOK_SERVED => "HookServed",
        _ => "ReExec",
    }
}

#[test]
fn each_program_takes_its_road_and_says_why() {
    let why = [
        "MainCaught: #[offshoot::main]\n",
        "HookServed: offshoot::early!()\n",
        "ReExec: the program has neither #[offshoot::main] nor offshoot::early!()\n",
    ];
    for (program, why) in ALL.into_iter().zip(why) {
        on_each(&[program], move |program| {
            assert_eq!(output_of(program, &["doctor"]), why);
            assert_eq!(output_of(program, &["basic"]), format!("main {}\n", road(program)));
        });
    }
}

#[test]
fn the_doctor_says_where_there_is_no_early_template_of_ones_own() {
    on_each(&ALL, |program| {
        let without = match program {
            NO_OPT_IN => {
                "ReExec: the program has neither #[offshoot::main] nor offshoot::early!()\n"
            }
            _ => "ReExec: the early template has died, or is another process's\n",
        };
        let worker = "ReExec: this process is a worker, and was not started as a program\n";
        // Each before it makes a process, and after.
        let all = [worker.repeat(2), without.repeat(4)].concat();
        assert_eq!(output_of(program, &["reasons"]), all);
    });
}

#[test]
fn a_report_is_a_few_lines_of_text() {
    on_each(&ALL, |program| {
        let report = output_of(program, &["report"]);
        let (kernel, names) = report.split_once("registered:  ").expect("names come last");
        let road = match program {
            MAIN_CAUGHT => "early template, caught at the top of main",
            HOOK_SERVED => "early template, serving from the constructor",
            _ => "template made by executing the program's own file",
        };
        assert!(kernel.starts_with(&format!("processes:   {road}\nbecause:     ")), "{kernel}");
        assert!(kernel.contains("\nthreads when the hook ran: 1\n"), "{kernel}");
        let features = kernel.lines().find_map(|l| l.strip_prefix("kernel:      "));
        let features: Vec<_> = features.expect("a line on it").split(", ").collect();
        for (feature, name) in features.iter().zip(["pidfd", "MADV_COLLAPSE", "close_range"]) {
            let says = feature.strip_prefix(name).expect("in this order").trim();
            assert!(["yes", "no"].contains(&says), "{feature}");
        }
        let (count, names) = names.split_once('\n').expect("a line for each");
        let names: Vec<&str> = names.lines().collect();
        assert_eq!(count.parse(), Ok(names.len()));
        assert!(names.iter().any(|n| n.starts_with("  ") && n.ends_with("::echo")), "{names:?}");
    });
}

#[test]
fn the_early_template_can_be_switched_off() {
    on_each(&[MAIN_CAUGHT, HOOK_SERVED], |program| {
        let off =
            |scene| said(&run_command(Command::new(program).arg(scene).env("OFFSHOOT_EARLY", "0")));
        assert_eq!(off("doctor"), "ReExec: OFFSHOOT_EARLY=0 is set\n");
        assert_eq!(off("basic"), "main ReExec\n");
        let other = run_command(Command::new(program).arg("basic").env("OFFSHOOT_EARLY", "1"));
        assert_eq!(said(&other), format!("main {}\n", road(program)));
    });
}

#[test]
fn decisions_are_logged_on_request() {
    let log = |program: &str, off: bool| {
        let mut command = Command::new(program);
        command.arg("basic").env("OFFSHOOT_LOG", "1");
        if off {
            command.env("OFFSHOOT_EARLY", "0");
        }
        let output = run_command(&mut command);
        said(&output);
        String::from_utf8(output.stderr).expect("it is text")
    };
    on_each(&ALL, move |program| {
        let (on, off) = (log(program, false), log(program, true));
        assert!(on.lines().all(|line| line.starts_with("offshoot[")), "{on}");
        let early = program != NO_OPT_IN;
        assert_eq!(on.contains("early template forked"), early, "{on}");
        assert_eq!(off.contains("no early template"), early, "{off}");
        assert_eq!(off.contains("OFFSHOOT_EARLY=0 is set"), early, "{off}");
        let caught = program == MAIN_CAUGHT;
        assert_eq!(on.contains("caught at the top of main"), caught, "{on}");
        assert_eq!(on.contains("serves from the hook"), !caught, "{on}");
        let silent = run_command(Command::new(program).arg("basic"));
        assert_eq!(String::from_utf8_lossy(&silent.stderr), "");
    });
}

/// A copy of the program in a directory of its own, without an early template.
fn copy(program: &str) -> (tempfile::TempDir, PathBuf, Command) {
    let dir = tempfile::tempdir().expect("there is room");
    let path = dir.path().join("program");
    // By another process: here, a sibling could inherit the file while it is open for
    // writing, and it could not be executed.
    let copied = Command::new("/bin/cp").arg(program).arg(&path).status();
    assert!(copied.expect("it can be started").success());
    let mut command = Command::new(&path);
    command.arg("without_its_file").arg(&path).env("OFFSHOOT_EARLY", "0");
    (dir, path, command)
}

#[test]
fn the_file_is_deleted() {
    on_each(&ALL, |program| {
        let (_dir, path, mut command) = copy(program);
        said(&run_command(&mut command));
        assert!(!path.exists());
    });
}

#[test]
fn the_file_is_replaced() {
    on_each(&ALL, |program| {
        // By another build that would run just as well, and by something else.
        let other = if program == MAIN_CAUGHT { HOOK_SERVED } else { MAIN_CAUGHT };
        for other in [other, "/bin/true"] {
            let (dir, path, mut command) = copy(program);
            let new = dir.path().join("new");
            fs::copy(other, &new).expect("there is room");
            said(&run_command(command.arg(&new)));
            assert_eq!(fs::read(&path).unwrap(), fs::read(other).unwrap());
        }
    });
}

#[test]
#[allow(unsafe_code)]
fn there_is_no_proc() {
    on_each(&ALL, |program| {
        for off in ["0", "1"] {
            let mut command = Command::new(program);
            command.arg("no_proc").env("OFFSHOOT_EARLY", off);
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
            match command.stdout(std::process::Stdio::null()).spawn() {
                Err(e) => {
                    assert_eq!(e.kind(), std::io::ErrorKind::PermissionDenied, "{e}");
                    println!("skipped: /proc cannot be hidden here: {e}");
                }
                Ok(mut child) => assert!(child.wait().expect("it is ours").success()),
            }
        }
    });
}

/// The program interpreter that an ELF file names, if it does.
fn interpreter(program: &str) -> Option<String> {
    let file = fs::read(program).expect("it can be read");
    let at = |offset: usize| u64::from_le_bytes(file[offset..offset + 8].try_into().unwrap());
    let headers =
        (0..u16::from_le_bytes([file[56], file[57]]) as usize).map(|n| at(32) as usize + n * 56);
    let interp = headers.into_iter().find(|h| file[*h] == 3)?;
    let (start, len) = (at(interp + 8) as usize, at(interp + 32) as usize);
    String::from_utf8(file[start..start + len - 1].to_vec()).ok()
}

#[test]
fn started_by_the_loader() {
    on_each(&ALL, |program| {
        let Some(loader) = interpreter(program) else {
            println!("skipped: the programs are linked statically");
            return;
        };
        for early in ["0", "1"] {
            let mut command = Command::new(&loader);
            command.args([program, "basic"]).env("OFFSHOOT_EARLY", early);
            let road = if early == "0" { "ReExec" } else { road(program) };
            assert_eq!(said(&run_command(&mut command)), format!("main {road}\n"));
        }
    });
}

#[test]
fn started_through_a_link() {
    on_each(&ALL, |program| {
        let dir = tempfile::tempdir().expect("there is room");
        let link = dir.path().join("link");
        symlink(program, &link).expect("it can be made");
        for early in ["0", "1"] {
            said(&run_command(Command::new(&link).arg("basic").env("OFFSHOOT_EARLY", early)));
        }
    });
}

#[test]
fn started_by_a_script() {
    on_each(&ALL, |program| {
        let dir = tempfile::tempdir().expect("there is room");
        let script = dir.path().join("script");
        let text = format!("#!{program} basic\n");
        let made = Command::new("/bin/sh")
            .args(["-c", "printf %s \"$1\" >\"$0\" && chmod +x \"$0\""])
            .args([script.as_os_str(), text.as_ref()])
            .status();
        assert!(made.expect("it can be started").success());
        // What was executed, by name, is not the program.
        for early in ["0", "1"] {
            let road = if early == "0" { "ReExec" } else { road(program) };
            let output = run_command(Command::new(&script).env("OFFSHOOT_EARLY", early));
            assert_eq!(said(&output), format!("main {road}\n"));
        }
    });
}

#[test]
fn started_without_an_environment() {
    on_each(&ALL, |program| {
        let output = run_command(Command::new(program).arg("basic").env_clear());
        assert_eq!(said(&output), format!("main {}\n", road(program)));
    });
}

#[test]
fn threaded_before_main() {
    if cfg!(target_feature = "crt-static") {
        return println!("skipped: nothing can be preloaded into a static program");
    }
    let dir = tempfile::tempdir().expect("there is room");
    let (source, library) = (dir.path().join("thread.c"), dir.path().join("thread.so"));
    let text = "#include <pthread.h>\n#include <unistd.h>\n\
        static void *stay(void *p) { for (;;) pause(); return p; }\n\
        __attribute__((constructor)) static void start(void)\n\
        { pthread_t t; pthread_create(&t, 0, stay, 0); }\n";
    fs::write(&source, text).expect("there is room");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-pthread", "-o"]).args([&library, &source]);
    match compiler.status() {
        Err(e) => return println!("skipped: there is no C compiler: {e}"),
        Ok(status) => assert!(status.success()),
    }
    on_each(&ALL, move |program| {
        let _kept = &dir;
        let output = run_command(Command::new(program).arg("threaded").env("LD_PRELOAD", &library));
        let why = match program {
            NO_OPT_IN => "the program has neither #[offshoot::main] nor offshoot::early!()",
            _ => "2 threads are running before main already",
        };
        assert_eq!(said(&output), format!("ReExec 2: {why}\nclear\n"));
    });
}
