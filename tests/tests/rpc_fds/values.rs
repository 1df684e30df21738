//! Each descriptor arrives where it stands in the value, whatever the value and the codec.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use offshoot::{Context, Fd, Json, MessagePack, Process, RpcBuilder};
use offshoot_tests::marked::{file, text};
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Source {
    Nothing,
    Bare(Fd),
    Named { name: String, fd: Option<Fd> },
}

/// Read back in either form: the first is tried first, and takes the descriptor.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Two { fd: Fd, other: Fd },
    One { fd: Fd },
}

#[derive(Serialize, Deserialize)]
struct Everything {
    before: u32,
    first: Fd,
    many: Vec<Fd>,
    maybe: Option<Fd>,
    none: Option<Fd>,
    by_name: BTreeMap<String, (Fd, u8)>,
    sources: Vec<Source>,
    nested: Option<Box<Everything>>,
    after: String,
}

fn everything(name: &str, depth: usize) -> Everything {
    let file = |what: &str| file(&format!("{name} {what}"));
    let same = file("same");
    Everything {
        before: 7,
        first: file("first"),
        many: vec![file("many 0"), same.clone(), same, file("many 3")],
        maybe: Some(file("maybe")),
        none: None,
        by_name: ["a", "b", "c"].map(|n| (n.to_owned(), (file(n), 9))).into(),
        sources: vec![
            Source::Bare(file("bare")),
            Source::Nothing,
            Source::Named { name: "x".to_owned(), fd: Some(file("named")) },
            Source::Named { name: "y".to_owned(), fd: None },
        ],
        nested: (depth > 0).then(|| Box::new(everything(&format!("{name}+"), depth - 1))),
        after: "the end".to_owned(),
    }
}

/// All that can be seen of it, in order.
fn texts(all: &Everything) -> Vec<String> {
    let mut seen = vec![all.before.to_string(), text(&all.first)];
    seen.extend(all.many.iter().map(text));
    seen.extend(all.maybe.iter().chain(&all.none).map(text));
    seen.extend(all.by_name.iter().map(|(name, (fd, n))| format!("{name} {} {n}", text(fd))));
    seen.extend(all.sources.iter().map(|source| match source {
        Source::Nothing => "nothing".to_owned(),
        Source::Bare(fd) => text(fd),
        Source::Named { name, fd } => format!("{name} {:?}", fd.as_ref().map(text)),
    }));
    seen.extend(all.nested.iter().flat_map(|nested| texts(nested)));
    seen.push(all.after.clone());
    seen
}

/// Reads it, tells it by an event, and sends it back.
#[offshoot::worker]
fn there_and_back(cx: &Context<Everything>, all: Everything) -> (Vec<String>, Everything) {
    let seen = texts(&all);
    cx.event(&all);
    (seen, all)
}

type Builder = RpcBuilder<Everything, (Vec<String>, Everything), Everything>;

fn all_ways(codec: fn(Builder) -> Builder) {
    within(DEADLINE, move || {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let rpc = codec(Process::new().unwrap().rpc(there_and_back))
            .on_event(move |all| heard.lock().unwrap().push(texts(&all)))
            .start()
            .unwrap();
        for depth in [0, 1, 3] {
            let sent = everything("x", depth);
            let expected = texts(&sent);
            let (seen, back) = rpc.call(sent).wait().unwrap();
            assert_eq!(seen, expected, "in the worker");
            assert_eq!(texts(&back), expected, "as a result");
            assert_eq!(events.lock().unwrap().pop().unwrap(), expected, "as an event");
        }
        assert!(rpc.finish().unwrap().success());
    });
}

#[test]
fn by_postcard() {
    all_ways(|builder| builder);
}

#[test]
fn by_json() {
    all_ways(|builder| builder.codec(Json));
}

#[test]
fn by_messagepack() {
    all_ways(|builder| builder.codec(MessagePack));
}

#[offshoot::worker]
fn loose(all: Vec<Loose>) -> Vec<String> {
    all.iter()
        .map(|loose| match loose {
            Loose::Two { fd, other } => text(fd) + &text(other),
            Loose::One { fd } => text(fd),
        })
        .collect()
}

#[test]
fn a_decoder_may_try_several_forms() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().rpc(loose).codec(Json).start().unwrap();
        let one = Loose::One { fd: file("a") };
        let two = Loose::Two { fd: file("b"), other: file("c") };
        assert_eq!(rpc.call(vec![one, two]).wait().unwrap(), ["a", "bc"]);
    });
}

#[offshoot::worker]
fn read(fd: Fd) -> String {
    text(&fd)
}

#[test]
fn by_spawn() {
    within(DEADLINE, || {
        assert_eq!(offshoot::spawn(read, file("hello")).unwrap().wait().unwrap(), "hello");
    });
}

#[test]
fn nowhere_else() {
    let error = serde_json::to_string(&file("x")).unwrap_err().to_string();
    assert!(error.contains("can only be sent by RPC"), "{error}");
    let error = serde_json::from_str::<Fd>("0").unwrap_err().to_string();
    assert!(error.contains("no descriptor 0"), "{error}");
}
