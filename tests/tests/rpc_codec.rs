//! A codec of the user's own that fails, or panics, on either side.

use std::io::Write;
use std::sync::mpsc;

use offshoot::{Body, Codec, CodecError, Context, Error, Process, Rpc, Sink};
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

/// Where a value makes trouble.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum At {
    Nowhere,
    Encode,
    EncodePanic,
    Decode,
    DecodePanic,
}

const ALL: [At; 4] = [At::Encode, At::EncodePanic, At::Decode, At::DecodePanic];

/// Writes the place of trouble, and has the trouble there.
struct Fragile;

fn encode(at: At, sink: &mut Sink) -> Result<(), CodecError> {
    // Something has been written by then: it must not be sent.
    sink.write_all(&[0xff; 100]).map_err(CodecError::new)?;
    match at {
        At::Encode => Err(CodecError::new("will not be written")),
        At::EncodePanic => panic!("the pen broke"),
        at => sink.write_all(&[at as u8]).map_err(CodecError::new),
    }
}

fn decode(body: &Body<'_>) -> Result<At, CodecError> {
    assert_eq!(body.len(), 101);
    match body[100] {
        at if at == At::Decode as u8 => Err(CodecError::new("cannot be read")),
        at if at == At::DecodePanic as u8 => panic!("the glasses broke"),
        _ => Ok(At::Nowhere),
    }
}

impl Codec<At> for Fragile {
    fn encode(at: &At, sink: &mut Sink) -> Result<(), CodecError> {
        encode(*at, sink)
    }

    fn decode(body: &Body<'_>) -> Result<At, CodecError> {
        decode(body)
    }
}

/// Arguments: trouble of their own; and what is asked of the worker, by number.
impl Codec<(At, u8)> for Fragile {
    fn encode((at, ask): &(At, u8), sink: &mut Sink) -> Result<(), CodecError> {
        sink.write_all(&[*ask]).map_err(CodecError::new)?;
        encode(*at, sink)
    }

    fn decode(body: &Body<'_>) -> Result<(At, u8), CodecError> {
        let mut rest = Sink::default();
        rest.write_all(&body[1..]).map_err(CodecError::new)?;
        match body[101] {
            at if at == At::Decode as u8 => Err(CodecError::new("cannot be read")),
            at if at == At::DecodePanic as u8 => panic!("the glasses broke"),
            _ => Ok((At::Nowhere, body[0])),
        }
    }
}

/// `ask`: the trouble of the result, and of an event if it is 10 more.
#[offshoot::worker(codec = Fragile)]
fn fragile(cx: &Context<At>, _at: At, ask: u8) -> At {
    let at = |n: u8| ALL.get(n as usize).copied().unwrap_or(At::Nowhere);
    if ask >= 10 {
        cx.event(&at(ask - 10));
        return At::Nowhere;
    }
    at(ask)
}

const FINE: u8 = 9;

fn start() -> Rpc<(At, u8), At, At> {
    Process::new().unwrap().rpc(fragile).keep_after_panic(true).start().unwrap()
}

/// The trouble is that call's alone.
fn goes_on(rpc: &Rpc<(At, u8), At, At>) {
    assert_eq!(rpc.call((At::Nowhere, FINE)).wait().unwrap(), At::Nowhere);
}

fn is_codec(error: &Error, why: &str) {
    assert!(error.is_codec() && error.to_string().contains(why), "{error}");
}

#[test]
fn arguments_that_cannot_be_written_or_read() {
    within(DEADLINE, || {
        let rpc = start();
        is_codec(&rpc.call((At::Encode, FINE)).wait().unwrap_err(), "will not be written");
        let refused = rpc.try_call((At::Encode, FINE)).unwrap_err();
        is_codec(&refused.error, "will not be written");
        assert_eq!(refused.args, (At::Encode, FINE));
        goes_on(&rpc);
        // The panic is the caller's: it is in its own code.
        let call = || drop(rpc.call((At::EncodePanic, FINE)));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
        goes_on(&rpc);
        is_codec(&rpc.call((At::Decode, FINE)).wait().unwrap_err(), "cannot be read");
        goes_on(&rpc);
        let error = rpc.call((At::DecodePanic, FINE)).wait().unwrap_err();
        assert_eq!(error.panic_message(), Some("the glasses broke"));
        goes_on(&rpc);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn results_that_cannot_be_written_or_read() {
    within(DEADLINE, || {
        let rpc = start();
        let outcome = |ask| rpc.call((At::Nowhere, ask)).wait().unwrap_err();
        is_codec(&outcome(0), "will not be written");
        assert_eq!(outcome(1).panic_message(), Some("the pen broke"));
        goes_on(&rpc);
        is_codec(&outcome(2), "cannot be read");
        is_codec(&outcome(3), "panicked");
        goes_on(&rpc);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn a_codec_that_panics_ends_the_worker_as_any_panic_does() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(fragile).start().unwrap();
        let error = rpc.call((At::Nowhere, 1)).wait().unwrap_err();
        assert!(error.is_panic(), "{error}");
        assert_eq!(rpc.finish().unwrap().code(), Some(101));
    });
}

#[test]
fn events_that_cannot_be_written_or_read() {
    within(DEADLINE, || {
        let (sender, heard) = mpsc::channel();
        let errors = sender.clone();
        let rpc = Process::new()
            .unwrap()
            .rpc(fragile)
            .keep_after_panic(true)
            .on_event(move |at| sender.send(Ok(at)).unwrap())
            .on_error(move |error| errors.send(Err(error)).unwrap())
            .start()
            .unwrap();
        goes_on(&rpc);
        let event = |ask| rpc.call((At::Nowhere, 10 + ask)).wait();
        event(FINE).unwrap();
        assert_eq!(heard.recv().unwrap().unwrap(), At::Nowhere);
        event(0).unwrap();
        is_codec(&heard.recv().unwrap().unwrap_err(), "will not be written");
        assert!(event(1).unwrap_err().is_panic());
        event(2).unwrap();
        is_codec(&heard.recv().unwrap().unwrap_err(), "cannot be read");
        event(3).unwrap();
        is_codec(&heard.recv().unwrap().unwrap_err(), "panicked");
        event(FINE).unwrap();
        assert_eq!(heard.recv().unwrap().unwrap(), At::Nowhere);
        assert!(rpc.finish().unwrap().success());
        assert!(heard.recv().is_err(), "all callbacks are gone");
    });
}
