//! What a plain stream socket can do, between this process and one that echoes: what
//! calls are compared with.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use offshoot::{Process, Start};

use crate::Result;
use crate::case::Work;
use crate::cases::calls::LARGE;
use crate::one_cpu::OneCpu;

/// As a worker and its parent look for an answer before they sleep.
const SPIN: Duration = Duration::from_micros(20);
const ROUNDS: u32 = 100;

#[offshoot::entry]
fn echo(start: Start) -> std::io::Result<()> {
    let number = |at: usize| {
        let text = start.args.get(at).map(|bytes| String::from_utf8_lossy(bytes));
        text.and_then(|text| text.parse().ok()).unwrap_or(0usize)
    };
    let (size, spin) = (number(0), number(1) == 1);
    let _kept = if number(2) == 1 { Some(OneCpu::keep()?) } else { None };
    let mut stream = start.stream;
    let mut buffer = vec![0; size];
    while receive(&mut stream, &mut buffer, spin).is_ok() {
        stream.write_all(&buffer)?;
    }
    Ok(())
}

#[offshoot::entry]
fn swallow(mut start: Start) -> std::io::Result<()> {
    let mut buffer = vec![0; LARGE];
    while start.stream.read_exact(&mut buffer).is_ok() {
        start.stream.write_all(b"!")?;
    }
    Ok(())
}

/// Fills the buffer; with `spin`, looks again and again for a while before it sleeps.
fn receive(stream: &mut UnixStream, buffer: &mut [u8], spin: bool) -> std::io::Result<()> {
    if !spin {
        return stream.read_exact(buffer);
    }
    let start = Instant::now();
    let mut filled = 0;
    stream.set_nonblocking(true)?;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(e) if e.kind() == ErrorKind::WouldBlock && start.elapsed() < SPIN => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                stream.set_nonblocking(false)?;
                return stream.read_exact(&mut buffer[filled..]);
            }
            Err(e) => return Err(e),
        }
    }
    stream.set_nonblocking(false)
}

fn ping_pong(size: usize, spin: bool, on_one_cpu: bool) -> Result<Work> {
    let process = Process::new()?.send_arg(size.to_string());
    let process = process.send_arg(u8::from(spin).to_string());
    let child = process.send_arg(u8::from(on_one_cpu).to_string()).run(echo)?;
    let mut stream = child.into_stream();
    let mut buffer = vec![7; size];
    Ok(Box::new(move || {
        let _here = if on_one_cpu { Some(OneCpu::keep()?) } else { None };
        let start = Instant::now();
        for _ in 0..ROUNDS {
            stream.write_all(&buffer)?;
            receive(&mut stream, &mut buffer, spin)?;
        }
        Ok(start.elapsed() / ROUNDS)
    }))
}

pub(super) fn blocking() -> Result<Work> {
    ping_pong(16, false, false)
}

pub(super) fn blocking_on_one_cpu() -> Result<Work> {
    ping_pong(16, false, true)
}

pub(super) fn spinning() -> Result<Work> {
    ping_pong(16, true, false)
}

/// One large message one way, and a byte back.
pub(super) fn large() -> Result<Work> {
    let mut stream = Process::new()?.run(swallow)?.into_stream();
    let buffer = vec![7; LARGE];
    Ok(Box::new(move || {
        let start = Instant::now();
        stream.write_all(&buffer)?;
        stream.read_exact(&mut [0])?;
        Ok(start.elapsed())
    }))
}

/// 64 KiB there and back, as fast as a socket can do it: sent by one thread, received by
/// another.
pub(super) fn stream_64k() -> Result<Work> {
    const SIZE: usize = 64 * 1024;
    let process = Process::new()?.send_arg(SIZE.to_string());
    let stream = process.send_arg("0").run(echo)?.into_stream();
    Ok(Box::new(move || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let buffer = vec![7; SIZE];
                (0..ROUNDS).try_for_each(|_| (&stream).write_all(&buffer))
            });
            let mut buffer = vec![0; SIZE];
            (0..ROUNDS).try_for_each(|_| (&stream).read_exact(&mut buffer))?;
            sender.join().map_err(|_| "the sender panicked")??;
            Ok::<(), crate::Error>(())
        })?;
        Ok(start.elapsed() / ROUNDS)
    }))
}
