//! Descriptors within arguments, results and events.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::ManuallyDrop;
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

thread_local! {
    /// Where descriptors go that the codec of this thread meets. It knows nothing of
    /// them, but only sees their numbers in these lists.
    static PASSING: Cell<Passing> =
        const { Cell::new(Passing { way: Way::Nowhere, first: 0, met: 0 }) };
    /// Those that were met by encoders, one within the other.
    static OUT: List = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
    /// Each is given out as often as it is asked for: a decoder may try one form of a value
    /// after the other.
    static INTO: List = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// It owns nothing while no codec runs, and is not destroyed with the thread: other
/// variables may hold a worker until then.
type List = ManuallyDrop<RefCell<Vec<Arc<OwnedFd>>>>;

#[derive(Clone, Copy)]
struct Passing {
    way: Way,
    /// Descriptors in `OUT` that encoders around this one have met.
    first: u32,
    /// Those that this one has.
    met: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Nowhere,
    Out,
    In,
}

/// Ends the passing, however the codec ends: it may have panicked. What it had met is
/// closed then.
struct Around(Passing);

impl Around {
    #[inline]
    fn go(way: Way) -> Around {
        let outer = PASSING.get();
        PASSING.set(Passing { way, first: outer.first + outer.met, met: 0 });
        Around(outer)
    }
}

impl Drop for Around {
    #[inline]
    fn drop(&mut self) {
        let Passing { first, met, .. } = PASSING.replace(self.0);
        if met > 0 {
            drop(met_from(first));
        }
    }
}

#[cold]
fn met_from(first: u32) -> Vec<Arc<OwnedFd>> {
    OUT.with(|out| match first {
        0 => out.take(),
        first => out.borrow_mut().split_off(first as usize),
    })
}

/// Runs an encoder; the descriptors that it met, in the order of their numbers.
#[inline]
pub(super) fn collect<T>(encode: impl FnOnce() -> T) -> (T, Vec<Arc<OwnedFd>>) {
    let around = Around::go(Way::Out);
    let result = encode();
    let Passing { first, met, .. } = PASSING.get();
    let mut fds = Vec::new();
    if met > 0 {
        fds = met_from(first);
        PASSING.set(Passing { way: Way::Nowhere, first, met: 0 });
    }
    drop(around);
    (result, fds)
}

/// Runs a decoder that finds these descriptors; what it leaves is closed.
#[inline]
pub(super) fn provide<T>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> T) -> T {
    if !fds.is_empty() {
        return provide_these(fds, decode);
    }
    if PASSING.get().way == Way::Nowhere {
        return decode();
    }
    let _around = Around::go(Way::Nowhere);
    decode()
}

fn provide_these<T>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> T) -> T {
    let fds = fds.into_iter().map(Arc::new).collect();
    let outer = INTO.with(|into| into.replace(fds));
    let clear = Clear(outer);
    let _around = Around::go(Way::In);
    let result = decode();
    drop(clear);
    result
}

/// Closes what was not taken.
struct Clear(Vec<Arc<OwnedFd>>);

impl Drop for Clear {
    fn drop(&mut self) {
        drop(INTO.with(|into| into.replace(std::mem::take(&mut self.0))));
    }
}

impl Serialize for Fd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let passing = PASSING.get();
        let next = (passing.first + passing.met).checked_add(1);
        if passing.way != Way::Out || next.is_none() {
            return Err(S::Error::custom("an offshoot::Fd can only be sent by RPC"));
        }
        OUT.with(|out| out.borrow_mut().push(Arc::clone(&self.0)));
        PASSING.set(Passing { met: passing.met + 1, ..passing });
        serializer.serialize_u32(passing.met)
    }
}

impl<'de> Deserialize<'de> for Fd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fd, D::Error> {
        let number = u32::deserialize(deserializer)?;
        let there = PASSING.get().way == Way::In;
        let fd = there.then(|| INTO.with(|into| into.borrow().get(number as usize).cloned()));
        match fd.flatten() {
            Some(fd) => Ok(Fd(fd)),
            None => {
                Err(D::Error::custom(format!("there is no descriptor {number} in this message")))
            }
        }
    }
}
