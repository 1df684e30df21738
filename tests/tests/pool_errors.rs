//! What a pool says is wrong, by question, and what its text says to do about it.

use std::time::Duration;

use offshoot::{Args, Done, Error, Json, Pool, Process};
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

#[offshoot::setup]
fn fails(_: Args) -> Result<(), String> {
    Err("the model is not there".to_owned())
}

#[derive(Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
enum What {
    Answers,
    Panics,
    Exits,
    Stays,
    Kills,
}

#[offshoot::worker]
fn does(what: What) -> u32 {
    match what {
        What::Answers => 1,
        What::Panics => panic!("it is over"),
        What::Exits => std::process::exit(4),
        What::Stays => loop {
            std::thread::park();
        },
        What::Kills => std::process::abort(),
    }
}

/// Of which nothing can be read.
#[derive(Debug)]
struct Unreadable;

impl serde::Serialize for Unreadable {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for Unreadable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Unreadable, D::Error> {
        Err(serde::de::Error::custom("it is not for reading"))
    }
}

#[offshoot::worker]
fn takes_unreadable(_: Unreadable) {}

#[offshoot::worker]
fn gives_unreadable(_: u32) -> Unreadable {
    Unreadable
}

#[offshoot::worker]
fn drops(done: Done<u32>, _job: u32) {
    drop(done);
}

fn never() -> Result<(), String> {
    Err("the licence has expired".to_owned())
}

#[offshoot::worker(init = never)]
fn licensed(_: &mut (), _job: u32) {}

type Question = (&'static str, fn(&Error) -> bool);

const QUESTIONS: [Question; 14] = [
    ("panic", Error::is_panic),
    ("timeout", Error::is_timeout),
    ("cancelled", Error::is_cancelled),
    ("full", Error::is_full),
    ("codec", Error::is_codec),
    ("init", Error::is_init),
    ("pool ended", Error::is_pool_ended),
    ("pool broken", Error::is_pool_broken),
    ("unanswered", Error::is_unanswered),
    ("deadlock", Error::is_deadlock),
    ("disconnected", Error::is_disconnected),
    ("setup", Error::is_setup),
    ("unsupported", Error::is_unsupported),
    ("resource", Error::is_resource),
];

/// It answers yes to these questions, and to no other; and its text has these words.
fn is(error: &Error, yes: &[&str], words: &[&str]) {
    let answers: Vec<&str> =
        QUESTIONS.iter().filter(|(_, asked)| asked(error)).map(|(name, _)| *name).collect();
    assert_eq!(answers, yes, "{error}");
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}: {words:?}");
}

fn pool() -> Pool<What, u32> {
    Pool::builder(does).max(1).load(1).queue_limit(1).build().unwrap()
}

#[test]
fn of_calls() {
    within(DEADLINE, || {
        let pool = pool();
        let error = |what| pool.call(what).wait().unwrap_err();
        is(&error(What::Panics), &["panic"], &["panicked at", "pool_errors.rs", "it is over"]);
        is(&error(What::Exits), &["disconnected"], &["exit status: 4", "the call was running"]);
        is(&error(What::Kills), &["disconnected"], &["signal: 6 (SIGABRT)"]);
        let late = pool.request(What::Stays).timeout(Duration::from_millis(10)).call();
        is(&late.wait().unwrap_err(), &["timeout"], &["took longer than it may"]);
        let (running, queued) = (pool.call(What::Stays), pool.call(What::Answers));
        let refused = pool.try_call(What::Answers).unwrap_err();
        is(&refused.error, &["full"], &["as many calls", "wait for one of them"]);
        running.cancel();
        is(&running.wait().unwrap_err(), &["cancelled"], &["the call was cancelled"]);
        queued.wait().unwrap();
        let mut taken = pool.call(What::Answers);
        taken.wait_timeout(DEADLINE).unwrap();
        is(&taken.try_wait().unwrap_err(), &[], &["taken already"]);
    });
}

#[test]
fn of_values() {
    within(DEADLINE, || {
        let pool = Pool::builder(takes_unreadable).build().unwrap();
        let error = pool.call(Unreadable).wait().unwrap_err();
        is(&error, &["codec"], &["the call", "could not be written or read"]);
        let pool = Pool::builder(takes_unreadable).codec(Json).build().unwrap();
        is(&pool.call(Unreadable).wait().unwrap_err(), &["codec"], &["it is not for reading"]);
        let pool = Pool::builder(gives_unreadable).build().unwrap();
        is(&pool.call(1).wait().unwrap_err(), &["codec"], &["the result could not be"]);
        assert_eq!(pool.finish().unwrap().failed.codec, 1);
        let pool = Pool::builder(drops).build().unwrap();
        is(&pool.call(1).wait().unwrap_err(), &["unanswered"], &["dropped the call's `Done`"]);
    });
}

#[test]
fn of_pools() {
    within(DEADLINE, || {
        let pool = Pool::builder(licensed).backoff(Duration::ZERO, Duration::ZERO);
        let pool = pool.restart(5, DEADLINE).build().unwrap();
        let error = pool.call(1).wait().unwrap_err();
        let words = ["5 in a row", "the licence has expired", "`reload` begins anew"];
        is(&error, &["init", "pool broken"], &words);
        is(&pool.try_call(1).unwrap_err().error, &["init", "pool broken"], &words);
        pool.finish().unwrap();
        let pool = self::pool();
        pool.finish().unwrap();
        let words = ["takes no more calls", "finished, or killed"];
        is(&pool.call(What::Answers).wait().unwrap_err(), &["pool ended"], &words);
        is(&pool.try_call(What::Answers).unwrap_err().error, &["pool ended"], &words);
        let mut results = pool.map([What::Answers]);
        is(&results.next().unwrap().unwrap_err(), &["pool ended"], &words);
        assert!(results.next().is_none());
    });
}

#[test]
fn of_builders() {
    within(DEADLINE, || {
        let bad = Process::new().unwrap().setup(fails, [""; 0]);
        let error = Pool::builder(does).template(bad).build().unwrap_err();
        is(&error, &["setup"], &["a setup function failed", "fails: the model is not there"]);
        let error = Pool::builder(does).init(5u8).build().unwrap_err();
        is(&error, &["init"], &["takes a (), and not a u8"]);
        let error = Pool::builder(does).codec(5u8).build().unwrap_err();
        is(&error, &["unsupported"], &["does not know this codec", "#[worker(codec = …)]"]);
    });
}
