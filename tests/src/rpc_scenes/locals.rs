//! Scenes of threads that keep workers for themselves: their handles are dropped when the
//! thread ends, and other variables of it are gone already.

use std::cell::RefCell;
use std::io::{PipeWriter, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use offshoot::{Call, Fd, Rpc};
use offshoot_tests::hear::{new_pipe, rest_of};
use serde::{Deserialize, Deserializer, Serialize};

use super::{add, process};

type Adder = Rpc<(u64, u64), u64>;
type Open = (Rpc<Fd, ()>, Call<()>);

thread_local! {
    // Filled within its first use: so it is destroyed after what that use needs.
    static OWN: RefCell<Option<Adder>> = const { RefCell::new(None) };
    static OPEN: RefCell<Option<Open>> = const { RefCell::new(None) };
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

fn add_here(a: u64) -> u64 {
    OWN.with(|own| {
        let mut own = own.borrow_mut();
        let own = own.get_or_insert_with(|| process().rpc(add).start().unwrap());
        own.call((a, 1)).wait().unwrap()
    })
}

/// Writes to a pipe.
#[offshoot::worker]
fn write(pipe: Fd) {
    PipeWriter::from(pipe.into_owned().unwrap()).write_all(b"done").unwrap();
}

/// Threads that have ended, and main, which is about to.
pub(super) fn kept() {
    for n in 0..3 {
        assert_eq!(std::thread::spawn(move || add_here(n)).join().unwrap(), n + 1);
    }
    let (said, pipe) = new_pipe();
    let begins = || {
        OPEN.with(|open| {
            let rpc = process().rpc(write).start().unwrap();
            let call = rpc.call(pipe);
            *open.borrow_mut() = Some((rpc, call));
        });
    };
    // Nobody waits for that call.
    std::thread::scope(|s| s.spawn(begins).join().unwrap());
    assert_eq!(rest_of(said), "done");
    println!("{}", add_here(6));
}

static OTHER: OnceLock<Adder> = OnceLock::new();

/// Whoever decodes one makes a call, and waits for it.
#[derive(Serialize)]
struct Sum(u64);

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sum, D::Error> {
        let sum = u64::deserialize(deserializer)?;
        let other = OTHER.get().expect("it is there before the call");
        Ok(Sum(other.call((sum, 1)).wait().expect("it waits within another one's callback")))
    }
}

/// The number, and the descriptors.
#[offshoot::worker]
fn back(n: u64, fds: Vec<Fd>) -> (Sum, Vec<Fd>) {
    (Sum(n), fds)
}

struct Last {
    rpc: Rpc<(u64, Vec<Fd>), (Sum, Vec<Fd>)>,
    tell: Sender<(u64, usize)>,
}

impl Last {
    fn call(&self, n: u64) {
        let (_reader, fd) = new_pipe();
        let (Sum(sum), fds) = self.rpc.call((n, vec![fd.clone(), fd])).wait().unwrap();
        self.tell.send((sum, fds.len())).unwrap();
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.call(40);
    }
}

/// The end of a thread makes calls, with descriptors, and within one another.
pub(super) fn last_words() {
    OTHER.set(process().rpc(add).start().unwrap()).unwrap();
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || {
        LAST.with(|last| {
            let rpc = process().rpc(back).start().unwrap();
            last.borrow_mut().insert(Last { rpc, tell }).call(1);
        });
    });
    thread.join().unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [(2, 2), (41, 2)]);
    println!("told");
}
