//! What an idle worker, and the template that it was forked from, take of memory; and
//! what the parent takes while a pool streams.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use offshoot::{Pool, Process, Start};

use crate::Result;

#[offshoot::entry]
fn idle(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(b"!")?;
    start.stream.read(&mut [0]).map(|_| ())
}

pub(crate) fn report(jobs: u64) -> Result<String> {
    let worker = Process::new()?.run(idle)?;
    worker.stream().read_exact(&mut [0])?;
    let pid = worker.id()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let parent = stat.rsplit_once(") ").and_then(|(_, s)| s.split(' ').nth(1)).unwrap_or("?");
    let mut text = "\nmemory\n".to_owned();
    text +=
        &format!("  {:<44} {}\n", "idle worker (goal: under 64 KiB dirty)", of(&pid.to_string())?);
    text += &format!("  {:<44} {}\n", "its template", of(parent)?);
    text += &format!("  {:<44} {}\n", "this program, for comparison", of("self")?);
    text += &format!("  {:<44} {}\n", "this program, streaming (goal: constant)", streaming(jobs)?);
    Ok(text)
}

#[offshoot::worker]
fn nothing(n: u64) -> u64 {
    n
}

/// What this program has in memory, early and late in so many jobs that do nothing.
fn streaming(jobs: u64) -> Result<String> {
    let pool = Pool::builder(nothing).max(2).load(1000).start(Duration::ZERO).build()?;
    let begun = Instant::now();
    let (mut early, mut halfway) = (0, 0);
    for (done, result) in (1..=jobs).zip(pool.map_unordered(0..jobs)) {
        result?;
        match done {
            n if n == jobs / 10 => early = status("VmRSS")?,
            n if n == jobs / 2 => halfway = status("VmRSS")?,
            _ => {}
        }
    }
    let rate = jobs as f64 / begun.elapsed().as_secs_f64();
    let (late, most) = (status("VmRSS")?, status("VmHWM")?);
    Ok(format!(
        "{early} KiB resident after a tenth of {jobs} jobs, {halfway} after half of them, \
         {late} after all, never more than {most}; {rate:.0} jobs/s",
    ))
}

/// A line of this program's status, in KiB.
fn status(key: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let value = line.and_then(|line| line.split_whitespace().next()).ok_or("no such line")?;
    Ok(value.parse()?)
}

fn of(pid: &str) -> Result<String> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = |key: &str| {
        let line = rollup.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let areas = std::fs::read_to_string(format!("/proc/{pid}/maps"))?.lines().count();
    Ok(format!(
        "{:>5} KiB private dirty, {:>5} KiB resident, {:>4} KiB proportional, {areas} mappings",
        kib("Private_Dirty"),
        kib("Rss"),
        kib("Pss"),
    ))
}
