//! A worker's connection: its start, and how it takes frames in.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::codec::{CodecError, Sink};
use super::context::Context;
use super::frame::{Failed, Frame, Hello, Kind, MAX_BODY, give_scratch};
use super::inbox::{Bad, Filled, Inbox};
use super::logs;
use super::output::Output;
use super::panics;
use super::retire;
use super::spin::{Spin, WORKER_RESTS};
use crate::start::{RunArgs, Start};
use crate::sys::ring::Ring;
use crate::sys::{alone, prefault, signal};

/// Exit status of a worker whose parent does not keep to the protocol.
pub(super) const REFUSED: u8 = 70; // EX_SOFTWARE
/// Bytes of calls that are taken in before their turn, to see if some were cancelled.
const AHEAD: usize = 4 << 20;

pub(super) struct Session {
    pub(super) inbox: Inbox,
    pub(super) hello: Hello,
    socket: UnixStream,
    output: Arc<Output>,
    spin: Spin,
}

/// What comes next.
pub(super) enum Next {
    Frame,
    End,
}

/// Ends the stream when it is dropped, and so behind everything that is said: also where a
/// process that this one has started has the stream too.
pub(super) struct Ends(Arc<Output>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Says why on stderr; the exit status.
pub(super) fn refused(why: impl Display) -> u8 {
    eprintln!("offshoot: a worker ends: {why}");
    REFUSED
}

/// From now on replies may go through the memory that the parent offers. Without it
/// (out of descriptors, perhaps) they go by the stream.
pub(super) fn use_ring(output: &Output, mut fds: Vec<OwnedFd>) {
    if let Some(ring) = fds.pop().and_then(|file| Ring::map(&file).ok()) {
        output.use_ring(ring);
    }
}

/// Whatever can be done before the parent says what this is to be, by one that has to wait
/// for that, as a pool's spares do: what is done for the first time takes ten times as long.
fn rehearse() {
    prefault::code();
    give_scratch(Frame::plain(Kind::Ready, 0, &()).bytes);
    let _ = postcard::from_bytes::<Hello>(&[]);
    let _ = Instant::now();
}

impl Session {
    /// Waits for the parent's first frame. An error is the exit status.
    pub(super) fn begin(start: Start) -> Result<(Session, RunArgs), u8> {
        let Start { stream, fds, args } = start;
        // The parent decides when its workers end, not the terminal.
        signal::ignore_interrupt();
        panics::note();
        let socket = stream.try_clone().map_err(refused)?;
        // The function may fork a helper, which may live for long.
        alone::keep(&stream);
        alone::keep(&socket);
        Spin::prepare();
        retire::prepare();
        let mut inbox = Inbox::new(MAX_BODY);
        let mut rehearsed = false;
        let hello = loop {
            if let Some(first) = inbox.next().map_err(|why| refused(why.0))? {
                if first.head.kind != Kind::Hello || !first.fds.is_empty() {
                    return Err(refused("it was not started by `rpc`"));
                }
                break postcard::from_bytes::<Hello>(&first.body).map_err(refused)?;
            }
            match inbox.fill(&stream, rehearsed).map_err(refused)? {
                Filled::Some => {}
                Filled::Nothing => {
                    rehearse();
                    rehearsed = true;
                }
                Filled::End if inbox.is_within_frame() => {
                    return Err(refused("its parent went away within a frame"));
                }
                Filled::End => return Err(0),
            }
        };
        let output = Arc::new(Output::new(stream, hello.max_reply));
        if let Some(most) = hello.forward_logs {
            logs::worker::begin(most, Arc::clone(&output));
        }
        if hello.pooled {
            retire::begin(&output);
        }
        let spin = Spin::new(hello.spin, WORKER_RESTS);
        let session = Session { inbox, hello, socket, output, spin };
        Ok((session, RunArgs { fds, args }))
    }

    pub(super) fn output(&self) -> Arc<Output> {
        Arc::clone(&self.output)
    }

    /// For the one who serves: the end of that is the end of the stream.
    pub(super) fn ends(&self) -> Ends {
        Ends(self.output())
    }

    pub(super) fn context<E>(
        &self,
        encode: fn(&E, &mut Sink) -> Result<(), CodecError>,
    ) -> Context<E> {
        Context::new(self.output(), encode)
    }

    /// Runs the init function; its error or panic is told to the parent.
    pub(super) fn init<S>(&self, init: impl FnOnce(&[u8]) -> Result<S, String>) -> Option<S> {
        let result = catch_unwind(AssertUnwindSafe(|| init(&self.hello.given)));
        let why = match result {
            Ok(Ok(state)) => {
                if self.hello.pooled {
                    self.output.push(Frame::plain(Kind::Ready, 0, &()));
                }
                return Some(state);
            }
            Ok(Err(message)) => Failed::Init(message),
            Err(payload) => panics::taken(&*payload),
        };
        self.output.push(Frame::plain(Kind::InitFailed, 0, &why.cut()));
        self.output.flush();
        None
    }

    /// Waits until a frame is there.
    pub(super) fn next_frame(&mut self) -> Result<Next, u8> {
        loop {
            if self.inbox.waiting() > 0 {
                if self.inbox.has_frame() {
                    return Ok(Next::Frame);
                }
                // Starts to take a large frame in, if that is what has begun.
                match self.inbox.next() {
                    Ok(None) => {}
                    Ok(Some(_)) => unreachable!("it was just looked for"),
                    Err(why) => return Err(refused(why.0)),
                }
            }
            let (inbox, socket) = (std::cell::RefCell::new(&mut self.inbox), &self.socket);
            let filled = self.spin.wait(
                || match inbox.borrow_mut().fill(socket, false) {
                    Ok(Filled::Nothing) => None,
                    other => Some(other),
                },
                || inbox.borrow_mut().fill(socket, true),
            );
            match filled {
                Ok(Filled::End) if self.inbox.is_within_frame() => {
                    return Err(refused("its parent went away within a frame"));
                }
                Ok(Filled::End) => return Ok(Next::End),
                Ok(_) => {}
                Err(bad) => return Err(refused(bad)),
            }
        }
    }

    /// Becomes readable when more has arrived.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads once, without waiting, behind frames that have all been taken.
    pub(super) fn take_in(&mut self) -> Result<Filled, u8> {
        match self.inbox.fill(&self.socket, false) {
            Ok(Filled::End) if self.inbox.is_within_frame() => {
                Err(refused("its parent went away within a frame"))
            }
            Ok(filled) => Ok(filled),
            Err(bad) => Err(refused(bad)),
        }
    }

    /// Takes in what has arrived meanwhile, without waiting.
    pub(super) fn look(&mut self) -> Result<(), u8> {
        while self.inbox.can_look_ahead() && self.inbox.waiting() < AHEAD {
            match self.inbox.fill(&self.socket, false) {
                Ok(Filled::Some) => {}
                // The end is found again once everything has been done.
                Ok(Filled::Nothing | Filled::End) => return Ok(()),
                Err(bad) => return Err(refused(bad)),
            }
        }
        Ok(())
    }
}

impl Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bad::Malformed(why) => f.write_str(why.0),
            Bad::Io(e) => e.fmt(f),
        }
    }
}
