//! Init functions: what they are given, what they can say, and who is told when they fail.

use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::mpsc;

use offshoot::{Context, Done, Error, Process, RunArgs, Worker};
use offshoot_tests::marked::{file, text};
use offshoot_tests::{DEADLINE, within};
use serde::{Deserialize, Serialize};

offshoot::early!();

#[derive(Clone, Serialize, Deserialize)]
enum Wish {
    Fine,
    Err(String),
    Panic,
}

fn wish(_: RunArgs, wish: Wish) -> Result<u64, String> {
    match wish {
        Wish::Fine => Ok(1),
        Wish::Err(why) => Err(why),
        Wish::Panic => panic!("not in the mood"),
    }
}

#[offshoot::worker(init = wish)]
fn wished(state: &mut u64) -> u64 {
    *state
}

#[offshoot::worker(init = wish)]
fn wished_later(state: &mut u64, done: Done<u64>) {
    done.complete(*state);
}

#[offshoot::worker(init = wish)]
async fn wished_async(state: Rc<u64>) -> u64 {
    *state
}

/// Every call gets the message, and so does `on_error`, once.
fn fails_in<F>(worker: Worker<F, (), u64>, wish: Wish, message: &str) {
    let (sender, errors) = mpsc::channel();
    let tell = move |error: Error| sender.send(error).unwrap();
    let rpc = Process::new().unwrap().rpc(worker).init(wish).on_error(tell).start().unwrap();
    let calls: Vec<_> = (0..5).map(|_| rpc.call(())).collect();
    for call in calls {
        let error = call.wait().unwrap_err();
        assert!(error.is_init() && error.to_string().contains(message), "{error}");
    }
    let late = rpc.call(()).wait().unwrap_err();
    assert!(late.is_init(), "{late}");
    let end = rpc.finish().unwrap_err();
    assert!(end.is_init() && end.to_string().contains(message), "{end}");
    assert!(errors.recv().unwrap().is_init());
    assert!(errors.recv().is_err(), "it is told once");
}

/// The same, however the worker runs its calls.
fn fails_in_init(wish: Wish, message: &str) {
    fails_in(wished, wish.clone(), message);
    fails_in(wished_later, wish.clone(), message);
    fails_in(wished_async, wish, message);
}

#[test]
fn a_failed_init_is_told_to_all_calls() {
    within(DEADLINE, || {
        fails_in_init(Wish::Err("the well is dry".to_owned()), "the well is dry");
        fails_in_init(Wish::Err("w".repeat(100_000)), "wwww");
        fails_in_init(Wish::Panic, "not in the mood");
        let rpc = Process::new().unwrap().rpc(wished).init(Wish::Fine).start().unwrap();
        assert_eq!(rpc.call(()).wait().unwrap(), 1);
    });
}

#[test]
fn a_failed_init_is_told_whatever_the_limit_of_results_is() {
    within(DEADLINE, || {
        let wish = Wish::Err("the well is dry".to_owned());
        let rpc = Process::new().unwrap().rpc(wished).init(wish).max_reply(1).start().unwrap();
        let error = rpc.call(()).wait().unwrap_err();
        assert!(error.is_init(), "{error}");
    });
}

#[test]
fn init_arguments_are_checked_before_anything_is_started() {
    let missing = Process::new().unwrap().rpc(wished).start().unwrap_err();
    assert!(missing.is_init() && missing.to_string().contains("Wish"), "{missing}");
    let wrong = Process::new().unwrap().rpc(wished).init(5u8).start().unwrap_err();
    let said = wrong.to_string();
    assert!(wrong.is_init() && said.contains("Wish") && said.contains("u8"), "{wrong}");
    let unwanted = Process::new().unwrap().rpc(plain).init(5u8).start().unwrap_err();
    assert!(unwanted.is_init(), "{unwanted}");
}

#[offshoot::worker]
fn plain(n: u32) -> u32 {
    n
}

/// What an init function was given, and its pid.
type Given = (Vec<String>, Vec<String>, Vec<i32>, u32);

/// Says what it was given, more than a socket takes, and what it was given again.
fn tells(queued: RunArgs, more: Vec<i32>, cx: &Context<Given>) -> Given {
    let args = queued.args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
    assert!(queued.fds.iter().all(|fd| fd.as_raw_fd() > 2));
    let texts = queued.fds.into_iter().map(|fd| text(&fd.into())).collect();
    let given = (args, texts, more, std::process::id());
    cx.event(&given);
    cx.event(&(vec![], vec!["x".repeat(1 << 20)], vec![], 0));
    cx.event(&given);
    given
}

#[offshoot::worker(init = tells)]
fn told(given: &mut Given, cx: &Context<Given>) -> Given {
    cx.event(given);
    given.clone()
}

#[offshoot::worker(init = tells)]
fn told_later(given: &mut Given, cx: &Context<Given>, done: Done<Given>) {
    cx.event(given);
    done.complete(given.clone());
}

#[offshoot::worker(init = tells)]
async fn told_async(given: Rc<Given>, cx: Context<Given>) -> Given {
    cx.event(&given);
    (*given).clone()
}

fn is_given_and_tells<F>(worker: Worker<F, (), Given, Given>) {
    let fds = ["one", "two"].map(|text| file(text).into_owned().unwrap());
    let process = Process::new().unwrap().send_arg("a").send_arg("b");
    let process = fds.into_iter().fold(process, Process::send_fd);
    let rpc = process.rpc(worker).init(vec![1, -2, 3]).start().unwrap();
    let events = rpc.events();
    let (args, texts, more, pid) = rpc.call(()).wait().unwrap();
    assert_eq!((args.join(" "), texts.join(" ")), ("a b".to_owned(), "one two".to_owned()));
    assert_eq!(more, [1, -2, 3]);
    assert_eq!(pid, rpc.id().unwrap());
    assert!(rpc.finish().unwrap().success());
    let events: Vec<_> = events.iter().map(|(args, texts, ..)| (args.len(), texts)).collect();
    let lengths: Vec<_> =
        events.iter().map(|(args, texts)| (*args, texts.concat().len())).collect();
    assert_eq!(lengths, [(2, 6), (0, 1 << 20), (2, 6), (2, 6)], "before any call, and in order");
}

#[test]
fn it_is_given_what_was_sent_and_can_make_events() {
    within(DEADLINE, || {
        is_given_and_tells(told);
        is_given_and_tells(told_later);
        is_given_and_tells(told_async);
    });
}
