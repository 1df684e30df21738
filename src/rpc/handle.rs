//! The parent's handle of a worker.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::Poll;

use crossbeam_channel::{Receiver, unbounded};

use super::call::{Call, Slot, Then};
use super::codec::decode_unharmed;
use super::conn::{AwaitsRoom, Conn, Full};
use super::fd;
use super::frame::{Frame, Kind, MAX_BODY, NoFrame};
use super::worker::{Speech, Worker};
use crate::error::{Error, Fault};
use crate::process::Process;

/// A worker in a process of its own, to be called.
///
/// Made by [`Process::rpc`]. Calls can be made from any thread; a synchronous worker does
/// them in the order in which they were made.
///
/// Dropping it "is a signal that the process is to end": the worker does all that was
/// called, and exits; calls that are open can still be waited for. [`finish`](Rpc::finish)
/// waits for that. When the program itself ends, its workers do, whatever they do: so wait.
///
/// (`AnyEvent::Fork::RPC`: the object that `run` returns.)
pub struct Rpc<A: 'static, R: 'static, E: 'static = ()> {
    conn: Arc<Conn>,
    speech: &'static Speech<A, R, E>,
}

/// A call that was not made because there was no room: the error, which
/// [`is_full`](Error::is_full), and the arguments.
///
/// (Or that could not be made at all; then the error is another.)
#[derive(Debug)]
pub struct Refused<A> {
    /// What the call was to be made with.
    pub args: A,
    /// Why it was not made.
    pub error: Error,
}

impl<A> Deref for Refused<A> {
    type Target = Error;

    fn deref(&self) -> &Error {
        &self.error
    }
}

impl<A> fmt::Display for Refused<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<A: fmt::Debug> std::error::Error for Refused<A> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<A> From<Refused<A>> for Error {
    fn from(refused: Refused<A>) -> Error {
        refused.error
    }
}

pub(crate) fn no_frame(why: NoFrame) -> Error {
    match why {
        NoFrame::Codec(why) => {
            Fault::Codec { what: "the arguments", why: why.to_string().into() }.into()
        }
        NoFrame::TooLarge { size, max } => {
            Fault::TooLarge { what: "the arguments", size, max }.into()
        }
    }
}

impl<A: 'static, R: Send + 'static, E: 'static> Rpc<A, R, E> {
    pub(super) fn new(conn: Arc<Conn>, speech: &'static Speech<A, R, E>) -> Rpc<A, R, E> {
        Rpc { conn, speech }
    }

    fn frame(&self, args: &A) -> Result<Frame, Error> {
        let encode = |sink: &mut _| (self.speech.encode_args)(args, sink);
        Frame::encode(Kind::Call, 0, MAX_BODY, encode).map_err(no_frame)
    }

    fn slot(&self) -> Arc<Slot<R>> {
        Slot::new(self.speech.decode_reply)
    }

    /// Calls the worker function. Several arguments are a tuple, one is itself, none is
    /// `()`.
    ///
    /// It does not wait for the result, but for room: while as many calls are open as
    /// [may be](super::RpcBuilder::max_in_flight), or 1 MiB of calls waits to be sent.
    /// Whatever fails comes out of the [`Call`].
    ///
    /// (`$rpc->(…, $cb)`.)
    pub fn call(&self, args: A) -> Call<R> {
        let slot = self.slot();
        let made = self.frame(&args).and_then(|f| self.conn.submit(f, &slot, &Full::Wait));
        // Whatever a drop of the arguments does, the call is on its way.
        drop(args);
        self.made(slot, made)
    }

    /// Calls, and has `then` called with the result, by the thread that waits for other
    /// calls or by this library's background thread: in exactly the order in which the
    /// worker made this result, others of this kind, and events. It may make calls, but
    /// cannot wait for them.
    ///
    /// Waits for room as [`call`](Rpc::call) does. `then` is called once, whatever happens;
    /// at once, if the call cannot be made.
    ///
    /// (`$rpc->(…, $cb)`.)
    pub fn call_then(&self, args: A, then: impl FnOnce(Result<R, Error>) + Send + 'static) {
        let slot = Then::new(self.speech.decode_reply, Box::new(then));
        let made = self.frame(&args).and_then(|frame| {
            self.conn.call_back()?;
            self.conn.submit(frame, &slot, &Full::Wait)
        });
        drop(args);
        if let Err(error) = made {
            slot.tell(Err(error));
        }
    }

    /// Calls, unless there is no room; then the arguments come back.
    ///
    /// # Errors
    /// [`is_full`](Error::is_full); or why no call can be made.
    pub fn try_call(&self, args: A) -> Result<Call<R>, Refused<A>> {
        let slot = self.slot();
        match self.frame(&args).and_then(|f| self.conn.submit(f, &slot, &Full::Refuse)) {
            Ok(ticket) => Ok(Call::made(slot, Arc::clone(&self.conn), ticket)),
            Err(error) => Err(Refused { args, error }),
        }
    }

    /// Awaits room, and calls. What comes out is the call: await that for the result.
    pub async fn call_async(&self, args: A) -> Call<R> {
        let slot = self.slot();
        let frame = self.frame(&args);
        drop(args);
        let mut frame = match frame {
            Ok(frame) => Some(frame),
            Err(error) => return Call::failed(slot, error),
        };
        let mut waits = AwaitsRoom::new(&self.conn);
        let made = poll_fn(|context| {
            if let Err(error) = self.conn.check() {
                return Poll::Ready(Err(error));
            }
            match self.conn.try_submit(&mut frame, &slot).transpose() {
                Some(made) => Poll::Ready(made),
                None => match waits.wake(context.waker()) {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                },
            }
        });
        let made = made.await;
        drop(waits);
        self.made(slot, made)
    }

    fn made(&self, slot: Arc<Slot<R>>, made: Result<super::conn::Ticket, Error>) -> Call<R> {
        match made {
            Ok(ticket) => Call::made(slot, Arc::clone(&self.conn), ticket),
            Err(error) => Call::failed(slot, error),
        }
    }

    /// Waits until all calls have been done and the process has ended; its status.
    ///
    /// (`on_destroy`.)
    ///
    /// # Errors
    /// Why it did not end well: [`is_disconnected`](Error::is_disconnected) if it ended
    /// with calls open, [`is_init`](Error::is_init), [`is_protocol`](Error::is_protocol).
    pub fn finish(self) -> Result<ExitStatus, Error> {
        self.conn.check()?;
        self.conn.finish();
        self.conn.wait_for_end()
    }

    /// Ends the process at once. Its open calls fail.
    ///
    /// # Errors
    /// As [`Child::kill`](crate::Child::kill).
    pub fn kill(&self) -> Result<(), Error> {
        self.conn.child.kill()
    }

    /// The worker's process id; waits until the process exists.
    ///
    /// # Errors
    /// Why it does not exist.
    pub fn id(&self) -> Result<u32, Error> {
        self.conn.child.id()
    }
}

impl<A, R, E: Send + 'static> Rpc<A, R, E> {
    /// The events as a channel, from now on, in place of
    /// [`on_event`](super::RpcBuilder::on_event). It ends when the process does.
    ///
    /// It takes whatever comes: a program that does not receive keeps all events in memory.
    /// In a fork of the program that made the `Rpc`, and that lives on, it has ended.
    pub fn events(&self) -> Receiver<E> {
        let (sender, receiver) = unbounded();
        if self.conn.check().is_err() {
            return receiver;
        }
        let decode = self.speech.decode_event;
        self.conn.handlers.set_event(Box::new(move |body, fds| {
            // The receiver may be gone.
            let _ = sender.send(fd::provide(fds, || decode_unharmed(decode, body))?);
            Ok(())
        }));
        // Without a hub, events come in while a call is waited for.
        let _ = self.conn.watch();
        receiver
    }
}

#[cfg(feature = "testing")]
impl<A, R, E> Rpc<A, R, E> {
    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }
}

impl<A: 'static, R: 'static, E: 'static> Drop for Rpc<A, R, E> {
    fn drop(&mut self) {
        self.conn.orphaned();
    }
}

impl<A, R, E> fmt::Debug for Rpc<A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc").field("child", &self.conn.child).finish_non_exhaustive()
    }
}

/// One process, one call: runs a worker function in a new process.
///
/// The process starts as the program was started ([`Process::new`]), and ends after the
/// call. Like `thread::spawn`, but isolated.
///
/// # Errors
/// As [`Process::new`] and [`Process::run`]. What happens in the process comes out of the
/// [`Call`].
pub fn spawn<F, A, R, E>(worker: Worker<F, A, R, E>, args: A) -> Result<Call<R>, Error>
where
    A: 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    Ok(Process::new()?.rpc(worker).start()?.call(args))
}
