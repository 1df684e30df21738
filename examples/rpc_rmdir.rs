//! `AnyEvent::Fork::RPC`'s first example: a worker that removes directories and files, and
//! tells after every three requests how many it has handled.
//!
//! None of the directories exists. The events and the replies come in exactly the order in
//! which the worker has made them.

use std::fs;
use std::path::PathBuf;

use offshoot::{Context, Process};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Command {
    Rmdir,
    Unlink,
}

fn no_requests() -> u64 {
    0
}

#[offshoot::worker(init = no_requests)]
fn run(
    count: &mut u64,
    cx: &Context<u64>,
    command: Command,
    path: PathBuf,
) -> Result<(), Option<i32>> {
    *count += 1;
    if count.is_multiple_of(3) {
        cx.event(count);
    }
    let status = match command {
        Command::Rmdir => fs::remove_dir(path),
        Command::Unlink => fs::remove_file(path),
    };
    status.map_err(|e| e.raw_os_error())
}

/// The system's words for an error, without its number.
fn words(errno: Option<i32>) -> String {
    let Some(errno) = errno else { return "unknown error".to_owned() };
    let words = std::io::Error::from_raw_os_error(errno).to_string();
    words.split(" (os error").next().unwrap_or_default().to_owned()
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Unlink is there for whoever wants it.
    let _ = Command::Unlink;
    let rpc = Process::new()?
        .rpc(run)
        .on_error(|error| eprintln!("FATAL: {error}"))
        .on_event(|count| println!("{count} requests handled"))
        .start()?;
    for id in 1..=6 {
        let path = PathBuf::from(format!("/tmp/somepath/{id}"));
        rpc.call_then((Command::Rmdir, path.clone()), move |result| match result {
            Ok(Ok(())) => {}
            Ok(Err(errno)) => println!("{}: {}", path.display(), words(errno)),
            Err(error) => println!("{}: {error}", path.display()),
        });
    }
    // The worker does what was called, and ends.
    rpc.finish()?;
    Ok(())
}
