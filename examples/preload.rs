//! 200 MB, loaded once, in a template; each worker has them from its first moment, and
//! copies nothing.
//!
//! It is done twice, without and with huge pages: a fork has to copy the page tables of
//! the template, which are 512 times as many entries for small pages. The figures are
//! the kernel's (/proc/PID/smaps_rollup): Pss divides what is shared by those who share
//! it, Private_Dirty is what a process has for itself alone.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::process::parent_id;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use offshoot::{Args, Process, Start};

const BLOCK: usize = 64 * 1024;
const BLOCKS: usize = 200 * 1024 * 1024 / BLOCK;
const WORKERS: u32 = 4;
const FORKS: u32 = 20;

static DATA: OnceLock<Vec<Vec<u8>>> = OnceLock::new();

/// Stands for a model, a dictionary, an index, read from disk.
#[offshoot::setup]
fn load(_: Args) {
    DATA.get_or_init(|| (0..BLOCKS).map(|n| vec![n as u8; BLOCK]).collect());
}

/// Looks at every page of it, and stays until it is asked for its memory and its
/// template's, or its stream is closed.
#[offshoot::entry]
fn look(mut start: Start) -> io::Result<()> {
    let data = DATA.get().expect("the template has loaded it");
    let pages = data.iter().flat_map(|block| block.iter().step_by(4096));
    let sum: u64 = pages.map(|byte| u64::from(*byte)).sum();
    assert_ne!(sum, 0);
    start.stream.write_all(b"here")?;
    if start.stream.read(&mut [0])? == 0 {
        return Ok(());
    }
    let (own, template) = (memory("self")?, memory(&parent_id().to_string())?);
    write!(start.stream, "  each worker: {own}\n  template:    {template}")
}

#[offshoot::entry]
fn nothing(_: Start) {}

fn memory(pid: &str) -> io::Result<String> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = |name: &str| -> u64 {
        let line = rollup.lines().find_map(|l| l.strip_prefix(name)?.strip_suffix("kB"));
        line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
    };
    Ok(format!(
        "Rss {:6.1} MB, Pss {:5.1} MB, Private_Dirty {:5} KiB, in huge pages {:5.1} MB",
        kib("Rss:") as f64 / 1024.0,
        kib("Pss:") as f64 / 1024.0,
        kib("Private_Dirty:"),
        kib("AnonHugePages:") as f64 / 1024.0,
    ))
}

fn show(huge: bool) -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let template = Process::new()?.huge_pages(huge).setup(load, [""; 0]);
    // The first fork waits until the setup has run.
    template.fork()?.run(nothing)?.wait()?;
    let loading = begun.elapsed();

    let mut fastest = Duration::MAX;
    for _ in 0..FORKS {
        let begun = Instant::now();
        template.fork()?.run(nothing)?.wait()?;
        fastest = fastest.min(begun.elapsed());
    }

    let workers =
        (0..WORKERS).map(|_| template.fork()?.run(look)).collect::<Result<Vec<_>, _>>()?;
    for worker in &workers {
        worker.stream().read_exact(&mut [0; 4])?;
    }
    // All of them are alike, so one tells for all.
    let mut said = String::new();
    workers[0].stream().write_all(b".")?;
    workers[0].stream().read_to_string(&mut said)?;
    for worker in &workers {
        worker.stream().shutdown(Shutdown::Write)?;
        assert!(worker.wait()?.success());
    }

    println!("{} pages:", if huge { "huge" } else { "small" });
    println!("{said}");
    println!("  loaded in {:.2} s", loading.as_secs_f64());
    println!("  a worker from fork to end: {} us", fastest.as_micros());
    Ok(())
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("200 MB loaded once, {WORKERS} workers:");
    show(false)?;
    show(true)
}
