//! One worker that sends without end does not keep others waiting.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::mpsc;
use std::time::Duration;

use offshoot::{Call, Context, Fd, Process, Rpc, RpcBuilder};
use offshoot_tests::hear::{Gate, pass};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

/// Waits for its gate, if it has one. Then, if it is to, makes events without end: each
/// after a byte that says so.
#[offshoot::worker]
fn pour(cx: &Context<()>, gate: Option<Fd>, notes: Option<Fd>) {
    gate.inspect(|gate| pass(gate));
    let Some(notes) = notes else { return };
    let mut notes = PipeWriter::from(notes.into_owned().unwrap());
    while notes.write_all(&[1]).is_ok() {
        cx.event(&());
    }
}

#[offshoot::worker]
fn twice(n: u64) -> u64 {
    2 * n
}

#[offshoot::worker]
fn wait(gate: Fd) {
    pass(gate);
}

#[offshoot::worker]
fn once(cx: &Context<()>) {
    cx.event(&());
}

type Flood = RpcBuilder<(Option<Fd>, Option<Fd>), (), ()>;

struct Flooded {
    rpc: Rpc<(Option<Fd>, Option<Fd>), (), ()>,
    /// The call that does not end.
    endless: Call<()>,
    /// Hears of the first event.
    begun: mpsc::Receiver<()>,
}

/// Floods this process with events. Whenever one has been handed out, the next has
/// arrived already: so whoever hands out all that there is never ends.
fn flooded(by_ring: bool, configure: impl FnOnce(Flood) -> Flood) -> Flooded {
    let (mut read, write) = pipe().unwrap();
    let (tell, begun) = mpsc::channel();
    let mut ahead = 2;
    let on_event = move |()| {
        let _ = tell.send(());
        // The first time three, and so the next event has been made by now, and the one
        // behind it has been begun.
        for _ in 0..=std::mem::take(&mut ahead) {
            let _ = PipeReader::read(&mut read, &mut [0]);
        }
    };
    let rpc = configure(Process::new().unwrap().rpc(pour)).on_event(on_event).start().unwrap();
    if by_ring {
        // So many calls at once that the worker is offered memory for what it sends.
        let (gate, gated) = Gate::new();
        drop(rpc.call((Some(gated), None)));
        (0..20).for_each(|_| drop(rpc.call((None, None))));
        let endless = rpc.call((None, Some(write.into())));
        drop(gate);
        return Flooded { rpc, endless, begun };
    }
    let endless = rpc.call((None, Some(write.into())));
    Flooded { rpc, endless, begun }
}

/// Calls that only the hub serves: this thread waits elsewhere.
fn are_served(rpc: &Rpc<u64, u64>) {
    for n in 0..100 {
        let (tell, told) = mpsc::channel();
        rpc.call_then(n, move |result| tell.send(result.unwrap()).unwrap());
        assert_eq!(told.recv_timeout(DEADLINE), Ok(2 * n));
        let call = rpc.call(n).into_receiver();
        assert_eq!(call.recv_timeout(DEADLINE).unwrap().unwrap(), 2 * n);
    }
}

#[test]
fn others_are_served_while_one_sends_without_end() {
    for by_ring in [false, true] {
        let flood = flooded(by_ring, |builder| builder);
        flood.begun.recv_timeout(DEADLINE).unwrap();
        let rpc = Process::new().unwrap().rpc(twice).start().unwrap();
        are_served(&rpc);
        flood.rpc.kill().unwrap();
        let ended = flood.endless.into_receiver().recv_timeout(DEADLINE).unwrap();
        assert!(ended.unwrap_err().is_disconnected());
    }
}

#[test]
fn deadlines_are_kept_while_one_sends_without_end() {
    let soon = Duration::from_millis(100);
    for by_ring in [false, true] {
        let flood = flooded(by_ring, |builder| builder);
        flood.begun.recv_timeout(DEADLINE).unwrap();
        let (_gate, gated) = Gate::new();
        let rpc = Process::new().unwrap().rpc(wait).timeout(soon).start().unwrap();
        let ended = rpc.call(gated).into_receiver().recv_timeout(DEADLINE).unwrap();
        assert!(ended.unwrap_err().is_timeout());
        flood.rpc.kill().unwrap();
        drop(flood.endless);
    }
    let flood = flooded(false, |builder| builder.timeout(soon));
    let ended = flood.endless.into_receiver().recv_timeout(DEADLINE).unwrap();
    assert!(ended.unwrap_err().is_timeout(), "its own, too");
}

#[test]
fn a_look_ends_while_one_sends_without_end() {
    within(DEADLINE, || {
        // Elsewhere, the hub is in a callback, so that it does not read here.
        let (gate, gated) = Gate::new();
        let (tell, held) = mpsc::channel();
        let on_event = move |()| {
            tell.send(()).unwrap();
            pass(&gated);
        };
        let holds = Process::new().unwrap().rpc(once).on_event(on_event).start().unwrap();
        let call = holds.call(());
        held.recv().unwrap();
        let mut flood = flooded(false, |builder| builder);
        while flood.begun.try_recv().is_err() {
            assert!(flood.endless.try_wait().unwrap().is_none());
        }
        flood.rpc.kill().unwrap();
        assert!(flood.endless.wait().unwrap_err().is_disconnected());
        drop(gate);
        call.wait().unwrap();
    });
}
