//! Results and messages that are too large, or nearly.

use std::sync::mpsc;

use bytes::Bytes;
use offshoot::{Context, Error, Octets, Pool, Process, RunArgs};
use offshoot_tests::proc::peak_memory;
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

offshoot::early!();

#[offshoot::worker]
fn many(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

#[offshoot::worker]
fn long_story(cx: &Context<Vec<u8>>, length: usize) -> u32 {
    match length {
        0 => 0,
        1 => {
            cx.event(&vec![1; 1000]);
            1
        }
        length => panic!("{}", "ä".repeat(length)),
    }
}

#[test]
fn a_result_over_the_limit_is_thrown_away() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(many).max_reply(1002).start().unwrap();
        // Two bytes are the length.
        assert_eq!(rpc.call(1000).wait().unwrap().len(), 1000);
        for bytes in [1001, 10 << 20] {
            let error = rpc.call(bytes).wait().unwrap_err();
            assert!(error.is_codec(), "{error}");
            assert!(error.to_string().contains("1002"), "{error}");
        }
        assert_eq!(rpc.call(3).wait().unwrap(), [7; 3]);
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn what_is_told_of_a_failure_may_be_longer_than_a_result() {
    within(DEADLINE, || {
        let (sender, errors) = mpsc::channel();
        let rpc = Process::new()
            .unwrap()
            .rpc(long_story)
            .max_reply(1)
            .keep_after_panic(true)
            .on_event(|_| panic!("no event is so small"))
            .on_error(move |e| sender.send(e).unwrap())
            .start()
            .unwrap();
        assert_eq!(rpc.call(1).wait().unwrap(), 1);
        assert!(errors.recv().unwrap().is_codec());
        let error = rpc.call(500).wait().unwrap_err();
        assert_eq!(error.panic_message(), Some(&*"ä".repeat(500)));
        // So long that it is cut.
        let error = rpc.call(5 << 20).wait().unwrap_err();
        let told = error.panic_message().unwrap();
        assert!(told.starts_with("ää") && told.len() < 2 << 20, "{}", told.len());
        assert_eq!(rpc.call(0).wait().unwrap(), 0);
        assert!(rpc.finish().unwrap().success());
        assert!(errors.recv().is_err());
    });
}

/// Shares of one byte string.
fn shares(count: usize) -> Vec<Bytes> {
    vec![Bytes::from(vec![0; 1 << 30]); count]
}

/// As many shares as the first of its arguments has bytes.
#[offshoot::worker(codec = Octets)]
fn exchange(parts: Vec<Bytes>) -> Vec<Bytes> {
    shares(parts.first().map_or(0, Bytes::len))
}

#[test]
fn four_gibibytes_are_too_large() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(exchange).start().unwrap();
        for _ in 0..3 {
            let error = rpc.call(shares(4)).wait().unwrap_err();
            assert!(error.is_codec() && error.to_string().contains("4294967295"), "{error}");
            let refused = rpc.try_call(shares(4)).unwrap_err();
            assert!(refused.error.is_codec() && refused.args.len() == 4, "{refused}");
            // As many as there are bytes in the first.
            let error = rpc.call(vec![Bytes::from_static(&[0; 4])]).wait().unwrap_err();
            assert!(error.is_codec() && error.to_string().contains("4294967295"), "{error}");
        }
        assert_eq!(rpc.call(vec![]).wait().unwrap().len(), 0);
        // Nothing of them was copied, here or there.
        for process in ["self".to_owned(), rpc.id().unwrap().to_string()] {
            assert!(peak_memory(&process) < 64 << 20, "{process}");
        }
        assert!(rpc.finish().unwrap().success());
    });
}

/// Bytes in one piece, which may be more than there is memory for, as long as nobody looks.
struct Vast(Vec<u8>);

impl Serialize for Vast {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Vast {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vast, D::Error> {
        Vec::deserialize(deserializer).map(Vast)
    }
}

fn keep(_: RunArgs, given: Vast) -> usize {
    given.0.len()
}

#[offshoot::worker(init = keep)]
fn kept(kept: &mut usize) -> usize {
    *kept
}

#[test]
fn four_gibibytes_are_too_large_to_begin_with() {
    within(DEADLINE, || {
        let refused = |error: Error| {
            assert!(error.is_codec(), "{error}");
            assert!(error.to_string().contains("init arguments"), "{error}");
            // With their length, which takes five bytes.
            assert!(error.to_string().contains("4294967301"), "{error}");
        };
        let vast = || Vast(vec![0; 1 << 32]);
        refused(Process::new().unwrap().rpc(kept).init(vast()).start().unwrap_err());
        refused(Pool::builder(kept).init(vast()).build().unwrap_err());
        // Nothing of them was copied.
        assert!(peak_memory("self") < 64 << 20);
        let rpc = Process::new().unwrap().rpc(kept).init(Vast(vec![0; 3])).start().unwrap();
        assert_eq!(rpc.call(()).wait().unwrap(), 3);
        assert!(rpc.finish().unwrap().success());
    });
}
