//! What is told: a line for each bad file as it turns up, and a summary in the end.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use offshoot::pool::Stats;

use crate::find;
use crate::options::Options;
use crate::page::Sheet;
use crate::supervise::{Outcome, THUMBS};

/// A progress bar, drawn on standard error if that is a terminal.
pub(crate) fn bar(options: &Options) -> ProgressBar {
    let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
        let _ = write!(text, "{:.0}/s", state.per_sec());
    };
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len}  {rate}  {eta} left")
        .expect("it is a template")
        .with_key("rate", rate);
    let bar = ProgressBar::no_length().with_style(style);
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(100));
        // The files are counted meanwhile, as the work does not wait to know how many
        // there are, and nobody remembers them.
        let (counted, dir, ours) = (bar.clone(), options.dir.clone(), options.out.join(THUMBS));
        thread::spawn(move || {
            counted.set_length(find::pictures(&dir, &ours, |_, _| {}).count() as u64);
        });
    }
    bar
}

/// What has been told so far.
pub(crate) struct Report<'a> {
    bar: &'a ProgressBar,
    begun: Instant,
    sheet: Sheet,
    good: u64,
    bad: u64,
}

impl Report<'_> {
    /// Nothing yet.
    pub(crate) fn new<'a>(options: &Options, bar: &'a ProgressBar) -> io::Result<Report<'a>> {
        let sheet = Sheet::new(&options.out)?;
        Ok(Report { bar, begun: Instant::now(), sheet, good: 0, bad: 0 })
    }

    /// One more file.
    pub(crate) fn add(&mut self, outcome: &Outcome) -> io::Result<()> {
        match &outcome.end {
            Ok(_) => self.good += 1,
            Err(ending) => {
                self.bad += 1;
                let (kind, name, end) = (ending.kind(), shown(&outcome.below), ending.to_string());
                let line = format!("{kind:7}  {name}: {}", one_line(&end));
                self.bar.suspend(|| writeln!(io::stdout(), "{line}"))?;
            }
        }
        self.sheet.add(outcome)
    }

    /// That was all; where the page is.
    pub(crate) fn finish(self, options: &Options, stats: &Stats) -> io::Result<PathBuf> {
        self.bar.set_length(self.bar.position());
        self.bar.tick();
        self.bar.finish_and_clear();
        let Report { good, bad, begun, .. } = self;
        let time = begun.elapsed().as_secs_f64();
        let (files, thumbnails) = (plural(good + bad, "file"), plural(good, "thumbnail"));
        let summary = format!("{files} in {time:.2} s: {thumbnails}, {bad} bad");
        let workers = match stats.started {
            0 => "no worker was needed".to_owned(),
            started => format!(
                "{}, {} at once, the largest had {} MB",
                plural(started, "worker"),
                options.jobs,
                stats.peak_memory / 1_000_000
            ),
        };
        let index = self.sheet.finish(options, &summary, &workers)?;
        writeln!(io::stdout(), "{summary}\n{workers}\n{}", index.display())?;
        Ok(index)
    }
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A path as text for eyes.
pub(crate) fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    one_line(if text.is_empty() { "." } else { &text })
}

/// Names and decoders may say what they like; terminals do not have to obey.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}
