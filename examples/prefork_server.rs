//! A pre-forked HTTP server: workers share one listening socket, and one that dies is
//! replaced at once.
//!
//! `cargo run --example prefork_server` starts it on a free port, sends it requests,
//! kills every one of its first workers meanwhile, and ends.
//! `cargo run --example prefork_server -- 127.0.0.1:8080` serves until Ctrl-C.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use offshoot::{Child, Process, Start};

const WORKERS: usize = 4;
const REQUESTS: usize = 400;

/// How long a client may keep a worker waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// A worker: answers one client after the other, for ever.
#[offshoot::entry]
fn serve(mut start: Start) -> io::Result<()> {
    let listener = TcpListener::from(start.fds.remove(0));
    loop {
        let (client, _) = listener.accept()?;
        // A client that goes away is no reason to end.
        let _ = answer(&client);
    }
}

fn answer(mut client: &TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    for line in BufReader::new(client).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let body = format!("hello from worker {}\n", std::process::id());
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
    client.write_all(format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes())
}

/// Starts a worker, again and again, and tells of each.
fn keep_one_running(
    template: &Process,
    started: &Sender<Arc<Child>>,
) -> Result<(), Box<dyn Error>> {
    loop {
        let worker = Arc::new(template.fork()?.run(serve)?);
        if started.send(Arc::clone(&worker)).is_err() {
            return Ok(());
        }
        let (id, status) = (worker.id()?, worker.wait()?);
        println!("worker {id} ended, {status}: starting another");
    }
}

/// The id of the worker that answered.
fn request(address: SocketAddr) -> io::Result<u32> {
    let mut server = TcpStream::connect(address)?;
    server.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    let body = answer.strip_prefix("HTTP/1.1 200 OK\r\n").and_then(|a| a.strip_suffix('\n'));
    let id = body.and_then(|b| b.rsplit(' ').next()?.parse().ok());
    id.ok_or_else(|| io::Error::other("cut off"))
}

/// The answers, and how many requests went down with a worker and were sent again.
fn request_many(address: SocketAddr) -> (Vec<u32>, usize) {
    let mut again = 0;
    let answers = (0..REQUESTS / 2).map(|_| {
        loop {
            match request(address) {
                Ok(worker) => break worker,
                Err(_) => again += 1,
            }
        }
    });
    (answers.collect(), again)
}

fn demonstrate(address: SocketAddr, started: &Receiver<Arc<Child>>) -> Result<(), Box<dyn Error>> {
    let first: Vec<_> = started.iter().take(WORKERS).collect();
    let client = thread::spawn(move || request_many(address));
    for worker in &first {
        worker.kill()?;
        started.recv()?;
    }
    let (answers, again) = client.join().expect("it does not panic");
    println!("{} requests answered meanwhile, {again} of them sent again", answers.len());

    let killed = first.iter().map(|w| w.id()).collect::<Result<Vec<_>, _>>()?;
    let (answers, again) = request_many(address);
    assert!(again == 0 && !answers.iter().any(|worker| killed.contains(worker)));
    println!("{} requests answered afterwards, all by new workers", answers.len());
    Ok(())
}

#[offshoot::main]
fn main() -> Result<(), Box<dyn Error>> {
    let wanted = std::env::args().nth(1);
    let listener = TcpListener::bind(wanted.as_deref().unwrap_or("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    println!("serving on http://{address}/ with {WORKERS} workers");

    let template = Arc::new(Process::new()?.send_fd(&listener));
    let (sender, started) = channel();
    for _ in 0..WORKERS {
        let (template, sender) = (Arc::clone(&template), sender.clone());
        thread::spawn(move || {
            if let Err(error) = keep_one_running(&template, &sender) {
                eprintln!("no more workers here: {error}");
            }
        });
    }
    match wanted {
        None => demonstrate(address, &started),
        Some(_) => {
            started.iter().for_each(drop);
            Ok(())
        }
    }
}
