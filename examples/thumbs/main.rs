//! Thumbnails of pictures that nobody has vouched for, each decoded in a process of
//! its own: with a limit to its memory, a deadline, and nothing to lose.
//!
//! ```text
//! cargo run --release --example thumbs -- [DIR] [--out DIR] [--jobs N]
//! ```
//! Every image below DIR ends up in a contact sheet, `index.html`. A file that is
//! broken, or lies about its size, or makes the decoder crash or hang, costs a process
//! and a line in the report; all others are done.

mod find;
mod options;
mod page;
mod report;
mod supervise;
mod worker;

use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::options::Options;

fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let begun = Instant::now();
    let pictures = find::pictures(&options.dir, &options.out)?;
    fs::create_dir_all(&options.out)?;

    // Drawn on standard error, and only if that is a terminal.
    let bar = ProgressBar::new(pictures.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:32} {pos}/{len} {wide_msg}")?);
    let results = supervise::all(&pictures, options, |picture| {
        bar.set_message(picture.name.clone());
        bar.inc(1);
    })?;
    bar.finish_and_clear();

    let summary = report::Summary::of(&results, begun.elapsed());
    let index = options.out.join("index.html");
    fs::write(&index, page::page(options, &results, &summary))?;
    report::print(&results, &summary);
    println!("{}", index.display());
    Ok(ExitCode::SUCCESS)
}

#[offshoot::main]
fn main() -> ExitCode {
    let done = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => run(&options),
        Ok(None) => {
            print!("{}", options::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Err(wrong) => {
            eprintln!("thumbs: {wrong}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("thumbs: {error}");
        ExitCode::FAILURE
    })
}
