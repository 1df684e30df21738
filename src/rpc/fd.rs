//! Descriptors within arguments, results and events.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A file descriptor that can be part of what is sent by RPC: of arguments, results and
/// events, any number, anywhere in them.
///
/// The other process gets a descriptor of its own for the same open file (SCM_RIGHTS in
/// unix(7)), close-on-exec. The one here is closed as soon as it has been sent and
/// nothing else shares it, and on every other path: when the call is cancelled, fails, or
/// never gets to a worker.
///
/// It only works in RPC: with any other serialiser it is an error.
#[derive(Clone, Debug)]
pub struct Fd(Arc<OwnedFd>);

impl Fd {
    /// The descriptor itself. It is duplicated if clones of this one are there, if it is
    /// still being sent, or if the value of which it is a part is still being decoded.
    ///
    /// # Errors
    /// The system's, if it has to be duplicated and cannot.
    pub fn into_owned(self) -> io::Result<OwnedFd> {
        Arc::try_unwrap(self.0).or_else(|shared| shared.try_clone())
    }
}

macro_rules! from {
    ($($owner:ty)*) => {$(
        impl From<$owner> for Fd {
            fn from(owner: $owner) -> Fd {
                Fd(Arc::new(owner.into()))
            }
        }
    )*};
}

from! {
    OwnedFd
    std::fs::File
    std::io::PipeReader
    std::io::PipeWriter
    std::net::TcpListener
    std::net::TcpStream
    std::net::UdpSocket
    std::os::unix::net::UnixDatagram
    std::os::unix::net::UnixListener
    std::os::unix::net::UnixStream
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Descriptors on their way out of, or into, a value: the codec between knows nothing of
/// them, but only sees their numbers in these lists.
struct Passing {
    way: Cell<Way>,
    out: RefCell<Vec<Arc<OwnedFd>>>,
    /// Each is given out as often as it is asked for: a decoder may try one form of a value
    /// after the other.
    into: RefCell<Vec<Arc<OwnedFd>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Nowhere,
    Out,
    In,
}

thread_local! {
    static PASSING: Passing = const {
        Passing {
            way: Cell::new(Way::Nowhere),
            out: RefCell::new(Vec::new()),
            into: RefCell::new(Vec::new()),
        }
    };
}

/// Ends the passing, however the codec ends: it may have panicked.
struct Restore(Way);

impl Drop for Restore {
    fn drop(&mut self) {
        PASSING.with(|p| p.way.set(self.0));
    }
}

fn go(way: Way) -> Restore {
    PASSING.with(|p| Restore(p.way.replace(way)))
}

/// Runs an encoder; the descriptors that it met, in the order of their numbers.
pub(super) fn collect<T>(encode: impl FnOnce() -> T) -> (T, Vec<Arc<OwnedFd>>) {
    let restore = RestoreOut(PASSING.with(|p| p.out.take()));
    let way = go(Way::Out);
    let result = encode();
    drop(way);
    let fds = PASSING.with(|p| p.out.take());
    drop(restore);
    (result, fds)
}

/// Gives back what an outer encoder had collected. (What a codec that panics had is closed.)
struct RestoreOut(Vec<Arc<OwnedFd>>);

impl Drop for RestoreOut {
    fn drop(&mut self) {
        PASSING.with(|p| drop(p.out.replace(std::mem::take(&mut self.0))));
    }
}

/// Runs a decoder that finds these descriptors; what it leaves is closed.
pub(super) fn provide<T>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> T) -> T {
    if fds.is_empty() {
        let _way = go(Way::Nowhere);
        return decode();
    }
    let fds = fds.into_iter().map(Arc::new).collect();
    let outer = PASSING.with(|p| p.into.replace(fds));
    let clear = Clear(outer);
    let _way = go(Way::In);
    let result = decode();
    drop(clear);
    result
}

/// Closes what was not taken.
struct Clear(Vec<Arc<OwnedFd>>);

impl Drop for Clear {
    fn drop(&mut self) {
        PASSING.with(|p| drop(p.into.replace(std::mem::take(&mut self.0))));
    }
}

impl Serialize for Fd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = PASSING.with(|p| {
            (p.way.get() == Way::Out).then(|| {
                let mut out = p.out.borrow_mut();
                out.push(Arc::clone(&self.0));
                u32::try_from(out.len() - 1).ok()
            })?
        });
        match number {
            Some(number) => serializer.serialize_u32(number),
            None => Err(S::Error::custom("an offshoot::Fd can only be sent by RPC")),
        }
    }
}

impl<'de> Deserialize<'de> for Fd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fd, D::Error> {
        let number = u32::deserialize(deserializer)?;
        let fd = PASSING.with(|p| {
            (p.way.get() == Way::In).then(|| p.into.borrow().get(number as usize).cloned())?
        });
        match fd {
            Some(fd) => Ok(Fd(fd)),
            None => {
                Err(D::Error::custom(format!("there is no descriptor {number} in this message")))
            }
        }
    }
}
