//! Thumbnails of pictures that nobody has vouched for, decoded by a pool of worker
//! processes: each with a limit to its memory, a deadline for each file, no file to
//! write to, and nothing to lose.
//!
//! ```text
//! cargo run --release --example thumbs -- [DIR] [--out DIR] [--jobs N]
//! ```
//! Every image below DIR ends up in a contact sheet, `index.html`. A file that is
//! broken, or lies about its size, or makes the decoder crash or hang, costs a worker
//! and gets a line in the report; all others are done.

mod ending;
mod find;
mod options;
mod page;
mod report;
mod supervise;
mod worker;

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use crate::options::Options;
use crate::report::Report;

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    // Before anything is written.
    fs::read_dir(&options.dir).map_err(|e| format!("{}: {e}", options.dir.display()))?;
    let thumbs = options.out.join(supervise::THUMBS);
    fs::create_dir_all(&thumbs).map_err(|e| format!("{}: {e}", thumbs.display()))?;

    let bar = report::bar(options);
    let mut report = Report::new(options, &bar)?;
    let stats = supervise::all(options, &bar, |outcome| report.add(&outcome))?;
    report.finish(options, &stats)?;
    Ok(())
}

#[offshoot::main]
fn main() -> ExitCode {
    let done = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => run(&options),
        Ok(None) => {
            print!("{}", options::HELP);
            Ok(())
        }
        Err(wrong) => {
            eprintln!("thumbs: {wrong}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thumbs: {error}");
            ExitCode::FAILURE
        }
    }
}
