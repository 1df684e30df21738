//! Calls that are taken back, and of which all handles are dropped then: what runs is ended
//! all the same.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

use offshoot::{Call, Fd, Process, Rpc};
use offshoot_tests::lying::stay;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Says that it has begun, and stays for ever, if it is to.
#[offshoot::worker]
fn begin(begun: Fd, stays: bool) -> Fd {
    let mut pipe = PipeWriter::from(begun.clone().into_owned().unwrap());
    pipe.write_all(b"!").unwrap();
    if stays {
        stay();
    }
    begun
}

/// Workers, of which it is known when the last one is gone: the pipe ends then.
struct Workers {
    begun: PipeReader,
    end: Fd,
}

impl Workers {
    fn new() -> Workers {
        let (begun, end) = pipe().unwrap();
        Workers { begun, end: end.into() }
    }

    fn start() -> Rpc<(Fd, bool), Fd> {
        Process::new().unwrap().rpc(begin).start().unwrap()
    }

    fn next_begun(&self) {
        (&self.begun).read_exact(&mut [0]).unwrap();
    }

    fn begun(&self, rpc: &Rpc<(Fd, bool), Fd>) -> Call<Fd> {
        let call = rpc.call((self.end.clone(), true));
        self.next_begun();
        call
    }

    /// Waits until all of them are gone.
    fn gone(self) {
        let Workers { mut begun, end } = self;
        drop(end);
        assert_eq!(begun.read(&mut [0]).unwrap(), 0, "nothing more was begun");
    }
}

const TIMES: usize = 20;

#[test]
fn a_process_for_one_call_is_gone_once_that_is_cancelled() {
    within(DEADLINE, || {
        let workers = Workers::new();
        for _ in 0..TIMES {
            let call = offshoot::spawn(begin, (workers.end.clone(), true)).unwrap();
            workers.next_begun();
            call.cancel();
            drop(call);
        }
        workers.gone();
    });
}

#[test]
fn a_worker_is_gone_once_its_call_is_cancelled_and_all_handles_are_dropped() {
    within(DEADLINE, || {
        let workers = Workers::new();
        for n in 0..TIMES {
            let rpc = Workers::start();
            let call = workers.begun(&rpc);
            call.cancel();
            if n % 2 == 0 {
                drop((call, rpc));
            } else {
                drop((rpc, call));
            }
        }
        workers.gone();
    });
}

#[test]
fn so_it_is_if_the_call_was_believed_to_wait() {
    within(DEADLINE, || {
        let workers = Workers::new();
        for _ in 0..TIMES {
            let rpc = Workers::start();
            let before = rpc.call((workers.end.clone(), false));
            workers.next_begun();
            // Nobody has read that the one before is done.
            let call = workers.begun(&rpc);
            call.cancel();
            drop(call);
            before.wait().unwrap();
        }
        workers.gone();
    });
}
