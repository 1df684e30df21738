//! Thumbnails where names, directories and limits are unusual, or files are many.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use offshoot::Process;
use offshoot_tests::{DEADLINE, run_command, within};
use tempfile::TempDir;

use crate::built::{example, root};

fn picture(path: &Path) {
    RgbImage::from_pixel(8, 6, Rgb([200, 100, 50])).save(path).unwrap();
}

/// What is told of a directory, but for the summary, and the page.
fn thumbs(dir: &Path, out: &Path, options: &[&str]) -> (Vec<String>, String) {
    let mut command = Command::new(example("thumbs"));
    let output = run_command(command.arg(dir).arg("--out").arg(out).args(options));
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = said.lines().map(str::to_owned).collect();
    let bad = lines[..lines.len() - 3].to_vec();
    (bad, fs::read_to_string(out.join("index.html")).unwrap())
}

#[test]
fn names_need_not_be_text() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    picture(&dir.path().join(OsStr::from_bytes(b"\xff.png")));
    picture(&dir.path().join("a\nb.png"));
    fs::write(dir.path().join("red\x1b[31m.png"), "no picture").unwrap();
    let (bad, index) = thumbs(dir.path(), out.path(), &[]);
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].starts_with(r"error    red\u{1b}[31m.png: "), "{bad:?}");
    assert!(index.contains("src=\"thumbs/%FF.png.jpg\""), "{index}");
    assert!(index.contains("src=\"thumbs/a%0Ab.png.jpg\""), "{index}");
    assert!(index.contains(r#"<b title="a\nb.png">a\nb.png</b>"#), "{index}");
}

#[test]
fn a_directory_without_pictures_has_a_page_too() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (bad, index) = thumbs(dir.path(), out.path(), &[]);
    assert!(bad.is_empty());
    assert!(index.contains("<strong>0 files in "), "{index}");
    // Which is what its style has words for.
    assert!(index.contains("<main></main>"), "{index}");
}

#[test]
fn a_directory_that_cannot_be_read_is_told() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    picture(&dir.path().join("z.png"));
    // So deep that its path is longer than any may be: root cannot read that either.
    let name = "d".repeat(250);
    let mut at = fs::File::open(dir.path()).unwrap().into();
    for _ in 0..20 {
        mkdirat(&at, name.as_str(), Mode::S_IRWXU).unwrap();
        at = openat(&at, name.as_str(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    }
    let (bad, index) = thumbs(dir.path(), out.path(), &[]);
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].starts_with("error    ddd") && bad[0].contains("File name too long"));
    assert!(index.contains("thumbs/z.png.jpg"), "{index}");
}

#[test]
fn too_little_memory_is_told_as_such() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    RgbImage::new(2000, 2000).save(dir.path().join("large.png")).unwrap();
    picture(&dir.path().join("small.png"));
    let (bad, _) = thumbs(dir.path(), out.path(), &["--memory", "1", "--jobs", "1"]);
    assert!(bad[0].starts_with("limit    large.png: "), "{bad:?}");
    assert!(bad[0].ends_with(" under a limit of 1 MiB"), "{bad:?}");
}

#[test]
fn a_worker_that_has_grown_is_replaced() {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let photograph = root().join("examples/data/hubble_deep_field.jpg");
    for name in ["a.jpg", "b.jpg", "c.jpg", "d.jpg"] {
        fs::copy(&photograph, dir.path().join(name)).unwrap();
    }
    // A quarter of that is what a worker may keep, and each takes twice as much.
    let (bad, index) = thumbs(dir.path(), out.path(), &["--memory", "16", "--jobs", "1"]);
    assert!(bad.is_empty(), "{bad:?}");
    let (_, workers) = index.split_once("<br>").unwrap();
    let workers: u32 = workers.split_once(" worker").unwrap().0.parse().unwrap();
    assert!(workers > 1, "{index}");
}

#[test]
fn a_file_that_has_gone_bad_has_no_thumbnail_any_more() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.png");
    picture(&file);
    // The page may stand among the pictures: what is made of them is not taken for more.
    let (bad, index) = thumbs(dir.path(), dir.path(), &[]);
    assert!(bad.is_empty() && index.contains("<strong>1 file in "), "{bad:?} {index}");
    assert!(dir.path().join("thumbs/a.png.jpg").exists());
    fs::write(&file, "no picture").unwrap();
    let (bad, index) = thumbs(dir.path(), dir.path(), &[]);
    assert!(bad.len() == 1 && index.contains("<strong>1 file in "), "{bad:?} {index}");
    assert!(!dir.path().join("thumbs/a.png.jpg").exists());
}

/// Ten directories of empty files; the largest resident set of the program over them.
fn peak_memory(files: usize) -> u64 {
    let (dir, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for n in 0..files {
        let below = dir.path().join((n % 10).to_string());
        if n < 10 {
            fs::create_dir(&below).unwrap();
        }
        fs::write(below.join(format!("{n:06}.png")), "").unwrap();
    }
    let said = fs::File::create(out.path().join("said")).unwrap();
    let program = Process::new().unwrap().stdout(&said).exec([
        example("thumbs").as_os_str(),
        dir.path().as_os_str(),
        OsStr::new("--out"),
        out.path().as_os_str(),
    ]);
    let program = program.unwrap();
    assert!(program.wait().unwrap().success());
    let said = fs::read_to_string(out.path().join("said")).unwrap();
    let names: Vec<_> = said.lines().filter_map(|l| l.strip_prefix("error    ")).collect();
    assert_eq!(names.len(), files);
    assert!(names.is_sorted(), "they come in order");
    program.usage().unwrap().peak_memory
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    // It starts some ten thousand processes.
    within(3 * DEADLINE, || {
        let few = peak_memory(500);
        // On a busy machine the same run takes half a megabyte more or less, and one in
        // hundreds a whole one; what is kept is there each time.
        let mut all = Vec::new();
        // If results were kept, each took some hundred bytes.
        while all.last().is_none_or(|many| *many >= few + (1 << 20)) {
            assert!(all.len() < 4, "{few} bytes, and each time more: {all:?}");
            all.push(peak_memory(8_000));
        }
    });
}
