//! The pool of the `AnyEvent::Fork` manual: one process is prepared, and ten identical
//! workers are forked from it, which all accept on the same socket.
//!
//! What the setup function loads is there once, and shared by all ten.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::parent_id;
use std::process::id;
use std::sync::OnceLock;

use offshoot::{Args, Process, Start};

const WORKERS: usize = 10;

static SQUARES: OnceLock<Vec<u64>> = OnceLock::new();

/// Runs once, in the template.
#[offshoot::setup]
fn load(args: Args) -> Result<(), std::num::ParseIntError> {
    let highest: u64 = args.text()[0].parse()?;
    SQUARES.get_or_init(|| (0..=highest).map(|n| n * n).collect());
    println!("loaded {} squares in process {}", highest + 1, id());
    Ok(())
}

/// Runs in each worker: answers one client and is done.
#[offshoot::entry]
fn serve(mut start: Start) -> io::Result<()> {
    let listener = TcpListener::from(start.fds.remove(0));
    let name = String::from_utf8_lossy(&start.args[0]).into_owned();
    let (client, _) = listener.accept()?;
    let mut question = String::new();
    BufReader::new(&client).read_line(&mut question)?;
    let n: usize = question.trim().parse().map_err(io::Error::other)?;
    let squares = SQUARES.get().expect("the template has loaded them");
    write!(&client, "worker {name}: {n} * {n} = {} (forked from {})", squares[n], parent_id())
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let template = Process::new()?.setup(load, ["1000"]).send_fd(&listener);

    let mut workers = Vec::new();
    for name in 1..=WORKERS {
        workers.push(template.fork()?.send_arg(format!("{name:2}")).run(serve)?);
    }

    let mut answers = Vec::new();
    for n in 1..=WORKERS {
        let mut server = TcpStream::connect(listener.local_addr()?)?;
        writeln!(server, "{}", n * 100)?;
        let mut answer = String::new();
        server.read_to_string(&mut answer)?;
        answers.push(answer);
    }
    answers.sort();
    println!("{}", answers.join("\n"));

    for worker in workers {
        assert!(worker.wait()?.success());
    }
    println!("{WORKERS} workers ended well");
    Ok(())
}
