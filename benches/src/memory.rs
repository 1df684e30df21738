//! What an idle worker, and the template that it was forked from, take of memory.

use std::io::{Read, Write};

use offshoot::{Process, Start};

use crate::Result;

#[offshoot::entry]
fn idle(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(b"!")?;
    start.stream.read(&mut [0]).map(|_| ())
}

pub(crate) fn report() -> Result<String> {
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
    Ok(text)
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
