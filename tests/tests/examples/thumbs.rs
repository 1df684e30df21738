//! Thumbnails of good pictures and bad ones.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use image::{ImageFormat, Rgb, RgbImage, RgbaImage};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use offshoot_tests::pty::{Pty, pty};
use offshoot_tests::{DEADLINE, eventually, parent_of, run_command, within};
use tempfile::TempDir;

use crate::built::{Running, example, root};

fn thumbs(dir: &Path, out: &Path, options: &[&str]) -> Output {
    run_command(Command::new(example("thumbs")).arg(dir).arg("--out").arg(out).args(options))
}

fn text(output: &Output) -> String {
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(complaints, "", "no complaints, and no progress bar without a terminal");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The line about a file: how its worker ended, in a word and in full.
fn ending<'a>(report: &'a str, name: &str) -> (&'a str, &'a str) {
    let mut lines = report.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find_map(|(kind, rest)| {
        Some((kind, rest.trim_start().strip_prefix(name)?.strip_prefix(": ")?))
    });
    found.unwrap_or_else(|| panic!("nothing of {name} in\n{report}"))
}

/// The last line but two, without its time.
fn summary(report: &str) -> String {
    let line = report.lines().rev().nth(2).unwrap();
    let (files, rest) = line.split_once(" in ").unwrap();
    format!("{files}: {}", rest.split_once(": ").unwrap().1)
}

/// A small picture, done in no time.
fn picture(path: &Path) {
    RgbImage::from_pixel(8, 6, Rgb([200, 100, 50])).save(path).unwrap();
}

/// A file that nobody can open to its end.
fn stall(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).unwrap();
}

#[test]
fn all_photographs_are_done_and_all_bad_files_reported() {
    let out = TempDir::new().unwrap();
    // No directory given, and not run from the repository.
    let mut command = Command::new(example("thumbs"));
    let output = run_command(command.arg("--out").arg(out.path()).current_dir(out.path()));
    assert!(output.status.success(), "{output:?}");
    let report = text(&output);

    assert_eq!(summary(&report), "9 files: 5 thumbnails, 4 bad");
    assert_eq!(report.lines().count(), 7, "{report}");
    let (kind, end) = ending(&report, "bad/claims-60000x60000.png");
    assert_eq!(kind, "limit");
    assert_eq!(
        end,
        "signal: 6 (SIGABRT), memory allocation of 10800000000 bytes failed under a limit of 512 MiB"
    );
    for name in ["bad/random.jpg", "bad/truncated.jpg", "bad/truncated.png"] {
        let (kind, end) = ending(&report, name);
        assert_eq!(kind, "error", "{report}");
        assert!(!end.is_empty(), "{report}");
    }

    let index = fs::read_to_string(out.path().join("index.html")).unwrap();
    for (name, width, height) in [
        ("astronaut.png", 320, 320),
        ("chelsea.png", 320, 213),
        ("coffee.png", 320, 213),
        ("hubble_deep_field.jpg", 320, 279),
        ("rocket.jpg", 320, 214),
    ] {
        let thumbnail = format!("thumbs/{name}.jpg");
        assert!(index.contains(&format!(r#"<img src="{thumbnail}""#)), "{name}: {index}");
        let made = image::open(out.path().join(thumbnail)).unwrap();
        assert_eq!((made.width(), made.height()), (width, height), "{name}");
    }
    assert!(index.contains("claims 60000\u{a0}×\u{a0}60000"), "{index}");
    // What was not decoded has left nothing behind.
    let mut left: Vec<_> = fs::read_dir(out.path().join("thumbs")).unwrap().collect();
    assert_eq!(left.drain(..).filter(|e| e.as_ref().unwrap().path().is_file()).count(), 5);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2);
}

#[test]
fn the_file_that_claims_to_be_huge_is_small() {
    let bad = root().join("examples/data/bad");
    let claims = fs::read(bad.join("claims-60000x60000.png")).unwrap();
    assert!(claims.len() < 200_000);
    assert_eq!(claims[16..24], [60_000u32.to_be_bytes(), 60_000u32.to_be_bytes()].concat());
}

#[test]
fn a_worker_that_hangs_is_killed_and_the_others_are_done() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    stall(&dir.path().join("a.jpg"));
    picture(&dir.path().join("b.png"));
    stall(&dir.path().join("c.png"));
    let output = thumbs(dir.path(), out.path(), &["--timeout", "3", "--jobs", "3"]);
    assert!(output.status.success(), "{output:?}");
    let report = text(&output);
    assert_eq!(ending(&report, "a.jpg"), ("timeout", "killed after 3.0 s"));
    assert_eq!(ending(&report, "c.png"), ("timeout", "killed after 3.0 s"));
    assert_eq!(summary(&report), "3 files: 1 thumbnail, 2 bad");
}

/// A process of that name that was started with this in its environment.
fn find_worker(name: &str, setting: &str) -> Option<u32> {
    let in_proc = fs::read_dir("/proc").unwrap();
    let mut pids = in_proc.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.find(|pid| {
        let read = |what| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let mut settings = read("environ");
        settings.push(0);
        read("comm").trim_ascii() == name.as_bytes()
            && settings.split(|b| *b == 0).any(|s| s == setting.as_bytes())
    })
}

/// A program whose one worker hangs over `b.jpg`, with `a.png` done and `c.png` to do;
/// and the worker.
fn hanging(dir: &Path, out: &Path) -> (Running, u32) {
    picture(&dir.join("a.png"));
    stall(&dir.join("b.jpg"));
    picture(&dir.join("c.png"));
    let mut program = Command::new(example("thumbs"));
    program.arg(dir).arg("--out").arg(out).args(["--timeout", "600", "--jobs", "1"]);
    program.env("MARK_OF_THIS_TEST", dir).stdout(Stdio::piped());
    let program = Running(program.spawn().unwrap());
    // The worker has had `b.jpg` before that is written.
    let before = out.join("thumbs/a.png.jpg");
    eventually(DEADLINE, "the file before it is done", || before.exists());
    let mark = format!("MARK_OF_THIS_TEST={}", dir.display());
    (program, find_worker("thumbnail", &mark).unwrap())
}

fn kill_9(pid: u32) {
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
}

/// The rest of what it prints.
fn report_of(mut program: Running) -> String {
    let mut report = String::new();
    program.0.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    assert!(program.0.wait().unwrap().success());
    report
}

#[test]
fn a_signal_is_reported_as_what_it_is() {
    within(DEADLINE, || {
        let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (program, worker) = hanging(dir.path(), out.path());
        kill_9(worker);
        let report = report_of(program);
        assert_eq!(ending(&report, "b.jpg"), ("signal", "signal: 9 (SIGKILL)"));
        assert_eq!(summary(&report), "3 files: 2 thumbnails, 1 bad");
    });
}

#[test]
fn the_death_of_what_workers_are_forked_from_costs_one_file() {
    within(DEADLINE, || {
        let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (program, worker) = hanging(dir.path(), out.path());
        kill_9(parent_of(worker).unwrap());
        let report = report_of(program);
        assert_eq!(ending(&report, "b.jpg").0, "lost", "{report}");
        assert_eq!(summary(&report), "3 files: 2 thumbnails, 1 bad");
    });
}

#[test]
fn names_kinds_and_sizes_of_all_sorts_are_served() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let below = dir.path().join("one/two");
    fs::create_dir_all(&below).unwrap();
    picture(&below.join("a <b> & \"c\" 100%.PNG"));
    RgbaImage::new(700, 350).save(dir.path().join("clear.png")).unwrap();
    // Named wrongly, but what it is can be seen in it.
    RgbImage::new(30, 40).save_with_format(dir.path().join("p.jpg"), ImageFormat::Png).unwrap();
    fs::write(dir.path().join("notes.txt"), "no picture").unwrap();
    // A page within the directory is not taken for more pictures.
    let out_within = dir.path().join("out");
    for out in [out.path(), &out_within, &out_within] {
        let output = thumbs(dir.path(), out, &["--jobs", "1"]);
        assert_eq!(summary(&text(&output)), "3 files: 3 thumbnails, 0 bad");
        let index = fs::read_to_string(out.join("index.html")).unwrap();
        let source = "thumbs/one/two/a%20%3Cb%3E%20%26%20%22c%22%20100%25.PNG.jpg";
        assert!(index.contains(&format!(r#"<img src="{source}""#)), "{index}");
        assert!(index.contains("<b title=\"one/two/a &lt;b&gt; &amp; &quot;c&quot; 100%.PNG\">"));
        assert!(!index.contains("Not decoded"), "{index}");
        let clear = image::open(out.join("thumbs/clear.png.png")).unwrap();
        assert_eq!((clear.width(), clear.height()), (320, 160));
        assert!(clear.color().has_alpha());
        assert!(out.join("thumbs/p.jpg.jpg").exists());
    }
}

#[test]
fn what_cannot_be_done_at_all_is_a_failure() {
    let out = TempDir::new().unwrap();
    let status = |args: &[&str]| {
        let output = run_command(Command::new(example("thumbs")).args(args));
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (args, complaint) in [
        (&["--jobs", "0"][..], "--jobs has to be at least 1"),
        (&["--jobs", "many"], "--jobs many: invalid digit found in string"),
        (&["--memory", "0"], "--memory has to be at least 1"),
        (&["--timeout", "0"], "--timeout 0: not so many seconds"),
        (&["--timeout", "-1"], "--timeout -1: not so many seconds"),
        (&["--out"], "--out needs a value"),
        (&["--fast"], "there is no option --fast"),
        (&["a", "b"], "one directory, please, not b too"),
    ] {
        let (code, said) = status(args);
        assert_eq!(code, Some(2), "{args:?}");
        let expected = format!("thumbs: {complaint}\n\nUsage: thumbs ");
        assert!(said.starts_with(&expected), "{said}");
    }
    let (code, complaint) = status(&["/no/such/dir", "--out", out.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert_eq!(complaint, "thumbs: /no/such/dir: No such file or directory (os error 2)\n");
    let (code, complaint) = status(&["--help"]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
}

#[test]
fn a_terminal_shows_progress() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    picture(&dir.path().join("a.png"));
    picture(&dir.path().join("b.png"));
    let Pty { mut master, slave } = pty();
    let shown = thread::spawn(move || {
        // Reading from a terminal that nobody holds any more is EIO, not an end.
        let mut shown = Vec::new();
        let _ = master.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    within(DEADLINE, move || {
        let mut command = Command::new(example("thumbs"));
        command.arg(dir.path()).arg("--out").arg(out.path()).env("TERM", "xterm");
        let status = command.stdout(Stdio::null()).stderr(slave).status().unwrap();
        // The command holds the terminal too.
        drop(command);
        assert!(status.success());
        let shown = shown.join().unwrap();
        assert!(shown.contains(" 2/2  "), "{shown:?}");
        assert!(shown.contains("/s  ") && shown.contains(" left"), "{shown:?}");
    });
}
