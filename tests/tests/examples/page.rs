//! The contact sheet of the thumbnails, as a browser shows it.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use image::{Rgb, RgbImage};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use offshoot_tests::{DEADLINE, run_command, within};
use serde::Deserialize;
use tempfile::TempDir;

use crate::built::example;

/// A browser without a window, ended with all processes of its group.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn is_installed() -> bool {
    let version = Command::new("chromium").arg("--version").stderr(Stdio::null()).output();
    version.is_ok_and(|said| said.status.success())
}

/// What the browser prints about a page.
fn browse(page: &Path, options: &[&str]) -> String {
    let home = TempDir::new().unwrap();
    let browser = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-sync", "--disable-component-update"])
        // It has nothing to ask anybody.
        .args(["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"])
        .arg("--hide-scrollbars")
        .arg(format!("--user-data-dir={}", home.path().display()))
        .args(options)
        .arg(format!("file://{}", page.display()))
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut browser = Browser(browser);
    let mut output = browser.0.stdout.take().unwrap();
    within(DEADLINE, move || {
        let mut said = String::new();
        output.read_to_string(&mut said).map(|_| said).unwrap()
    })
}

/// A contact sheet of the photographs, and of the bad files beside them; and a copy that
/// has them all loaded, and shown, before the browser says that it is done.
fn sheet() -> (TempDir, PathBuf) {
    let out = TempDir::new().unwrap();
    let output = run_command(Command::new(example("thumbs")).arg("--out").arg(out.path()));
    assert!(output.status.success(), "{output:?}");
    let index = fs::read_to_string(out.path().join("index.html")).unwrap();
    let eager = index.replace(r#" loading="lazy""#, r#" decoding="sync""#);
    assert_ne!(eager, index);
    let page = out.path().join("eager.html");
    fs::write(&page, eager).unwrap();
    (out, page)
}

fn screenshot(page: &Path, options: &[&str]) -> RgbImage {
    let picture = page.with_extension("png");
    let screenshot = format!("--screenshot={}", picture.display());
    let said = browse(page, &[options, &[&screenshot]].concat());
    let shown = image::open(&picture).unwrap_or_else(|e| panic!("{e}: {said}"));
    fs::remove_file(picture).unwrap();
    shown.to_rgb8()
}

fn colours(picture: &RgbImage) -> usize {
    picture.pixels().collect::<HashSet<_>>().len()
}

#[test]
fn it_shows_photographs_by_day_and_by_night() {
    if !is_installed() {
        println!("skipped: chromium is not installed");
        return;
    }
    let (_out, page) = sheet();
    let day = screenshot(&page, &["--window-size=1200,900"]);
    let night =
        screenshot(&page, &["--window-size=1200,900", "--blink-settings=preferredColorScheme=0"]);
    assert_eq!(day.dimensions(), (1200, 900));
    assert_eq!(day.get_pixel(2, 2), &Rgb([0xf6, 0xf5, 0xf2]));
    assert_eq!(night.get_pixel(2, 2), &Rgb([0x16, 0x15, 0x13]));
    // Text and frames alone have about a thousand.
    let (day, night) = (colours(&day), colours(&night));
    assert!(day.min(night) > 20_000, "{day} and {night} colours");
}

/// What the page says about itself.
#[derive(Deserialize)]
struct Seen {
    images: u32,
    loaded: u32,
    listed: u32,
    window: u32,
    content: u32,
}

/// Has the page look at itself once everything is loaded, which is when it is printed.
const LOOK: &str = r#"<script>
addEventListener("load", () => {
  const seen = {
    images: document.images.length,
    loaded: [...document.images].filter(image => image.naturalWidth > 0).length,
    listed: document.querySelectorAll("li").length,
    window: innerWidth,
    content: document.documentElement.scrollWidth,
  };
  document.body.append(`seen${JSON.stringify(seen)}seen`);
});
</script>"#;

#[test]
fn all_pictures_load_and_nothing_is_wider_than_the_window() {
    if !is_installed() {
        println!("skipped: chromium is not installed");
        return;
    }
    let (_out, page) = sheet();
    let looking = fs::read_to_string(&page).unwrap() + LOOK;
    fs::write(&page, looking).unwrap();
    for size in ["--window-size=500,900", "--window-size=1600,900"] {
        let said = browse(&page, &["--dump-dom", size]);
        let seen = said.split("seen{").nth(1).and_then(|s| s.split_once("}seen"));
        let (seen, _) = seen.unwrap_or_else(|| panic!("{said}"));
        let seen: Seen = serde_json::from_str(&format!("{{{seen}}}")).unwrap();
        assert_eq!((seen.images, seen.loaded, seen.listed), (5, 5, 4));
        assert!(seen.content <= seen.window, "{} px in {}", seen.content, seen.window);
    }
}
