//! Templates that are killed while somebody reads what they have said: who asks for a new
//! process has it from another one.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake};
use std::thread;

use nix::sys::signal::Signal;
use offshoot::Process;
use offshoot_tests::program::Watched;
use offshoot_tests::{DEADLINE, eventually, state};

use super::{Scene, staying, template_of, until_closed, works};

pub(super) const SCENES: &[Scene] =
    &[("refused_while_read", refused_while_read), ("refused_again", refused_again)];

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// Holds up the one who wakes it: he reads for all others.
struct HoldsUp {
    held: SyncSender<()>,
    gate: Mutex<Receiver<()>>,
}

impl Wake for HoldsUp {
    fn wake(self: Arc<Self>) {
        self.held.send(()).expect("somebody waits for this");
        // It is opened by the drop of the other end.
        let _ = self.gate.lock().expect("one at a time").recv();
    }
}

/// Whoever reads does not come to the end of the connection for a long time.
fn refused_while_read(_: &[String]) {
    let (ends_first, ends_unread) = (new().run(until_closed), new().run(until_closed));
    let (ends_first, ends_unread) = (ends_first.expect("it runs"), ends_unread.expect("it runs"));
    let lost = staying(new());
    let (template, holder) = (template_of(&lost), Watched::new(lost.id().expect("it runs")));
    let pid = ends_unread.id().expect("it runs");

    let (held, is_held) = sync_channel(0);
    let (open, gate) = sync_channel(0);
    let waker = Arc::new(HoldsUp { held, gate: Mutex::new(gate) }).into();
    let mut future = pin!(ends_first.exited());
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    ends_first.stream().shutdown(std::net::Shutdown::Write).expect("it is open");
    is_held.recv().expect("somebody reads that it has ended");

    // The end of another one is told, but not read.
    ends_unread.stream().shutdown(std::net::Shutdown::Write).expect("it is open");
    eventually(DEADLINE, "it is reaped", || state(pid).is_none());
    // The template does one thing after the other.
    let later = new().send_arg("told").run(super::echo).expect("it runs");
    let said = std::io::read_to_string(later.stream()).expect("it is text");
    assert_eq!(said, "told");

    let waiter = thread::spawn(move || lost.wait());
    template.signal(Signal::SIGKILL);
    assert!(template.gone_within(DEADLINE));
    // Until it has begun to run, it has the template's socket too.
    assert!(holder.gone_within(DEADLINE));
    for _ in 0..3 {
        let child = new().run(until_closed).expect("there is a new template");
        let again = template_of(&child);
        assert_ne!(again.pid(), template.pid());
        child.stream().shutdown(std::net::Shutdown::Write).expect("it is open");
        assert!(child.wait().expect("it is told").success());
    }
    drop(open);
    assert!(ends_unread.wait().expect("it was told in time").success());
    let error = waiter.join().expect("it does not panic").expect_err("nobody has told");
    assert!(error.is_disconnected(), "{error}");
    works(new());
}

/// One waits, and another goes on to make processes, all the time.
fn refused_again(_: &[String]) {
    for _ in 0..20 {
        let child = staying(new());
        let template = template_of(&child);
        let waiter = thread::spawn(move || child.wait());
        template.signal(Signal::SIGKILL);
        while !waiter.is_finished() {
            // The process may die with the template, but it was made.
            drop(new().run(until_closed).expect("one template or the other makes it"));
        }
        let lost = waiter.join().expect("it does not panic").expect_err("nobody has told");
        assert!(lost.is_disconnected(), "{lost}");
    }
    works(new());
}
