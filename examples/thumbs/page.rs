//! The contact sheet.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::options::Options;
use crate::report::{one_line, shown};
use crate::supervise::Outcome;

/// A page that is being written: there may be more pictures than anybody would remember,
/// and what goes above them is known in the end.
pub(crate) struct Sheet {
    index: PathBuf,
    cards: BufWriter<File>,
    rows: BufWriter<File>,
    has_rows: bool,
}

impl Sheet {
    /// Without pictures.
    pub(crate) fn new(out: &Path) -> io::Result<Sheet> {
        // They have no names, so nothing is left of them whatever happens.
        let draft = || tempfile::tempfile_in(out).map(BufWriter::new);
        let index = out.join("index.html");
        Ok(Sheet { index, cards: draft()?, rows: draft()?, has_rows: false })
    }

    /// One more file.
    pub(crate) fn add(&mut self, outcome: &Outcome) -> io::Result<()> {
        let (name, facts) = (escape(&shown(&outcome.below)), facts(outcome));
        match &outcome.end {
            Ok((thumbnail, _)) => write!(
                self.cards,
                r#"
<figure>
<img src="{}" alt="" loading="lazy">
<figcaption><b title="{name}">{name}</b><span>{facts}</span></figcaption>
</figure>"#,
                url(thumbnail)
            ),
            Err(ending) => {
                self.has_rows = true;
                let (kind, text) = (ending.kind(), escape(&one_line(&ending.to_string())));
                writeln!(
                    self.rows,
                    r#"<li class="{kind}"><em>{kind}</em><b>{name}</b><span>{facts}</span><code>{text}</code></li>"#
                )
            }
        }
    }

    /// Writes the whole page, which needs nothing but the thumbnails beside it.
    pub(crate) fn finish(
        self,
        options: &Options,
        summary: &str,
        workers: &str,
    ) -> io::Result<PathBuf> {
        // In full, since `.` has no name.
        let dir = options.dir.canonicalize().unwrap_or_else(|_| options.dir.clone());
        let dir = dir.file_name().unwrap_or(dir.as_os_str());
        let (memory, timeout) = (options.memory, options.timeout.as_secs_f64());
        let workers = format!("{workers}; each file may take {memory} MiB and {timeout} s");
        let page = PAGE
            .replace("{style}", include_str!("page.css"))
            .replace("{summary}", summary)
            .replace("{workers}", &workers)
            // Last: a name is not looked through for placeholders.
            .replace("{dir}", &escape(&shown(dir.as_ref())));
        let mut file = BufWriter::new(File::create(&self.index)?);
        file.write_all(page.as_bytes())?;
        append(self.cards, &mut file)?;
        file.write_all(b"</main>\n")?;
        if self.has_rows {
            file.write_all(BAD.as_bytes())?;
            append(self.rows, &mut file)?;
            file.write_all(b"</ul>\n</section>\n")?;
        }
        file.write_all(b"</html>\n")?;
        file.flush()?;
        Ok(self.index)
    }
}

fn append(draft: BufWriter<File>, page: &mut impl Write) -> io::Result<u64> {
    let mut draft = draft.into_inner()?;
    draft.rewind()?;
    io::copy(&mut draft, page)
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
<p><strong>{summary}</strong><br>{workers}</p>
</header>
<main>"#;

const BAD: &str = r#"<section>
<h2>Not decoded</h2>
<p>No other file was touched by what is wrong with these.</p>
<ul>
"#;

fn facts(outcome: &Outcome) -> String {
    let mut facts = String::new();
    if let Some((width, height)) = outcome.size {
        let claims = if outcome.end.is_ok() { "" } else { "claims " };
        let _ = write!(facts, "{claims}{width}\u{a0}×\u{a0}{height} · ");
    }
    facts.push_str(&size(outcome.bytes));
    if let Ok((_, time)) = outcome.end {
        let _ = write!(facts, " · {:.0}\u{a0}ms", time.as_secs_f64() * 1e3);
    }
    facts
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes}\u{a0}B"),
        1_000..1_000_000 => format!("{}\u{a0}kB", bytes / 1_000),
        _ => format!("{:.1}\u{a0}MB", bytes as f64 / 1e6),
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
