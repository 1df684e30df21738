//! The contact sheet.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::options::Options;
use crate::report::Summary;
use crate::supervise::{Ending, Outcome};

/// The whole page, which needs nothing but the thumbnails beside it.
pub(crate) fn page(options: &Options, results: &[Outcome], summary: &Summary) -> String {
    // In full, since `.` has no name.
    let dir = options.dir.canonicalize().unwrap_or_else(|_| options.dir.clone());
    let dir = escape(&dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy());
    let (mut cards, mut rows) = (String::new(), String::new());
    for result in results {
        match &result.end {
            Ok(thumbnail) => card(&mut cards, result, thumbnail),
            Err(ending) => row(&mut rows, result, ending),
        }
    }
    let each = format!(
        "{} at once, each in a process of its own with at most {} MiB and {} s",
        options.jobs,
        options.memory,
        options.deadline.as_secs_f64()
    );
    let bad = if rows.is_empty() { String::new() } else { BAD.replace("{rows}", &rows) };
    PAGE.replace("{dir}", &dir)
        .replace("{style}", include_str!("page.css"))
        .replace("{summary}", &summary.to_string())
        .replace("{each}", &each)
        // Last: what comes from files is not looked through for placeholders.
        .replace("{pictures}", &format!("{cards}</main>{bad}"))
}

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Contact sheet: {dir}</title>
<style>
{style}</style>
<header>
<h1>{dir}</h1>
<p><strong>{summary}</strong><br>{each}</p>
</header>
<main>
{pictures}
</html>
"#;

const BAD: &str = r#"
<section>
<h2>Not decoded</h2>
<p>The process of each of these ended before its picture was done. No other was touched by it.</p>
<ul>
{rows}</ul>
</section>"#;

fn card(page: &mut String, result: &Outcome, thumbnail: &Path) {
    let name = escape(&result.picture.name);
    let (source, facts) = (url(thumbnail), facts(result));
    let card = format!(
        r#"<figure>
<img src="{source}" alt="" loading="lazy">
<figcaption><b title="{name}">{name}</b><span>{facts}</span></figcaption>
</figure>
"#
    );
    page.push_str(&card);
}

fn row(page: &mut String, result: &Outcome, ending: &Ending) {
    let (name, kind, text) =
        (escape(&result.picture.name), ending.kind(), escape(&ending.to_string()));
    let facts = facts(result);
    let row = format!(
        r#"<li class="{kind}"><em>{kind}</em><b>{name}</b><span>{facts}</span><code>{text}</code></li>
"#
    );
    page.push_str(&row);
}

fn facts(result: &Outcome) -> String {
    let mut facts = String::new();
    if let Some((width, height)) = result.size {
        let claims = if result.end.is_ok() { "" } else { "claims " };
        let _ = write!(facts, "{claims}{width} × {height} · ");
    }
    let _ = write!(facts, "{} · {}", size(result.picture.bytes), time(result.time));
    facts
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn time(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A relative path as an address: names of files may have any bytes.
fn url(path: &Path) -> String {
    let mut url = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                url.push(char::from(*byte));
            }
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}
