//! Functions become workers, of whatever shape, and are known by their names.

use std::collections::BTreeSet;

use offshoot::{Context, Process, Worker, doctor};
use offshoot_tests::{DEADLINE, run, within};

offshoot::early!();

mod strict {
    //! What the attribute emits gives no cause for complaint.
    #![deny(warnings, missing_docs, unused, unreachable_pub, clippy::all, clippy::pedantic)]
    #![forbid(unsafe_code)]

    use std::rc::Rc;

    use offshoot::{Context, Done, RunArgs};

    /// Takes nothing, and gives nothing.
    #[offshoot::worker]
    pub(crate) fn nothing() {}

    /// With a state and an end.
    #[offshoot::worker(init = start, done = end)]
    pub(crate) fn stateful(state: &mut u64, cx: &Context<u64>, n: u64) -> Result<u64, String> {
        cx.event(state);
        *state = state.checked_add(n).ok_or("too much")?;
        Ok(*state)
    }

    fn start(queued: RunArgs, from: u64) -> Result<u64, std::num::TryFromIntError> {
        let RunArgs { args, .. } = queued;
        Ok(from + u64::try_from(args.len())?)
    }

    fn end() {}

    /// Answers when it likes.
    #[offshoot::worker]
    pub(crate) fn later(n: u64, done: Done<u64>) {
        done.complete(n);
    }

    /// A future.
    #[offshoot::worker(init = shared)]
    pub(crate) async fn awaited(state: Rc<u64>, _: Context<u64>, n: u64) -> u64 {
        *state + std::future::ready(n).await
    }

    fn shared() -> u64 {
        40
    }

    /// Not to be used any more; what is emitted does not.
    #[deprecated = "call the other one"]
    #[offshoot::worker]
    pub(crate) fn old(n: u32) -> u32 {
        n
    }
}

mod other {
    #[offshoot::worker]
    pub(super) fn nothing() -> String {
        "something".to_owned()
    }

    #[offshoot::worker(name = "the.one/and only")]
    pub(super) fn named_otherwise() -> u32 {
        std::process::id()
    }

    pub(super) use named_otherwise as renamed_by_use;
}

mod elsewhere {
    pub(super) use ::offshoot as reexported;

    #[reexported::worker(crate = reexported)]
    pub(super) fn by_another_path(cx: &reexported::Context<u8>, n: u8) -> u8 {
        cx.event(&n);
        n
    }
}

#[offshoot::worker]
fn r#match(r#in: u32) -> u32 {
    r#in
}

#[offshoot::worker]
fn patterns(mut x: u32, (a, b): (u32, u32), [c, ..]: [u32; 3], _: u32, _d: String) -> u32 {
    x += 1;
    x + a + b + c
}

#[offshoot::worker]
fn two(a: u32, b: String) -> String {
    format!("{a}{b}")
}

#[offshoot::worker]
#[allow(clippy::too_many_arguments)]
fn eight(a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: i32, h: i64) -> i64 {
    i64::from(a)
        + i64::from(b)
        + i64::from(c)
        + d as i64
        + i64::from(e)
        + i64::from(f + g as i16)
        + h
}

#[offshoot::worker]
#[allow(clippy::too_many_arguments)]
fn twelve(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    cx: &Context<u8>,
    g: u8,
    h: u8,
    i: u8,
    j: u8,
    k: u8,
    l: String,
) -> Vec<u8> {
    cx.event(&f);
    vec![a, b, c, d, e, f, g, h, i, j, k, l.len() as u8]
}

#[cfg(any())]
#[offshoot::worker]
fn switched_off(_: NoSuchType) {}

#[offshoot::worker]
#[cfg(any())]
fn switched_off_below(_: NoSuchType) {}

#[cfg(target_os = "linux")]
#[offshoot::worker]
fn switched_on() -> bool {
    true
}

fn called<F, A: 'static, R: Send + 'static, E: Send + 'static>(
    worker: Worker<F, A, R, E>,
    args: A,
) -> R {
    offshoot::spawn(worker, args).unwrap().wait().unwrap()
}

#[test]
fn functions_of_any_number_of_arguments_are_called() {
    within(DEADLINE, || {
        called(strict::nothing, ());
        assert_eq!(called(r#match, 5), 5);
        assert_eq!(called(two, (1, "b".to_owned())), "1b");
        assert_eq!(called(eight, (1, 2, 3, 4, -5, 6, 7, 8)), 26);
        let twelve_of_them = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, "twelve words".to_owned());
        assert_eq!(called(twelve, twelve_of_them), (1..=12).collect::<Vec<u8>>());
        assert_eq!(called(patterns, (1, (2, 3), [4, 5, 6], 7, String::new())), 11);
        assert!(called(switched_on, ()));
    });
}

#[test]
fn functions_of_any_kind_are_called() {
    within(DEADLINE, || {
        let rpc = Process::new().unwrap().send_arg("x").rpc(strict::stateful).init(10u64);
        let rpc = rpc.start().unwrap();
        let before = rpc.events();
        assert_eq!(rpc.call(5).wait().unwrap(), Ok(16));
        assert_eq!(rpc.call(u64::MAX).wait().unwrap(), Err("too much".to_owned()));
        assert_eq!(before.iter().take(2).collect::<Vec<_>>(), [11, 16]);
        assert!(rpc.finish().unwrap().success());
        assert_eq!(called(strict::later, 3), 3);
        assert_eq!(called(strict::awaited, 2), 42);
        #[allow(deprecated)]
        let old = called(strict::old, 4);
        assert_eq!(old, 4);
    });
}

#[test]
fn a_worker_can_be_within_a_function() {
    #[offshoot::worker]
    fn inside(n: u32) -> u32 {
        n + 1
    }

    within(DEADLINE, || {
        assert_eq!(called(inside, 1), 2);
        assert_eq!(inside(2), 3);
    });
}

#[test]
fn workers_of_one_name_in_two_modules_are_two() {
    within(DEADLINE, || {
        called(strict::nothing, ());
        assert_eq!(called(other::nothing, ()), "something");
        assert_eq!(strict::nothing.name(), "rpc_registry::strict::nothing");
        assert_eq!(other::nothing.name(), "rpc_registry::other::nothing");
    });
}

#[test]
fn a_worker_has_the_name_that_it_was_given() {
    within(DEADLINE, || {
        assert_eq!(other::named_otherwise.name(), "the.one/and only");
        assert_eq!(other::renamed_by_use.name(), "the.one/and only");
        assert_ne!(called(other::renamed_by_use, ()), std::process::id());
        let name: &str = r#match.into();
        assert_eq!(name, "rpc_registry::match");
        assert_eq!(format!("{:?}", other::named_otherwise), "Worker(\"the.one/and only\")");
        assert_eq!(called(elsewhere::by_another_path, 9), 9);
    });
}

#[test]
fn a_worker_still_is_the_function_that_it_was() {
    let function: fn(u32, String) -> String = *two;
    assert_eq!(function(1, "a".to_owned()), two(1, "a".to_owned()));
    assert_eq!(patterns(1, (2, 3), [4, 5, 6], 7, String::new()), 11);
}

#[test]
fn the_doctor_lists_all_workers_that_there_are() {
    // Beside those of the support library.
    let own = doctor().entries.into_iter().filter(|name| !name.starts_with("offshoot_tests::"));
    let names: BTreeSet<&str> = own.collect();
    let path = |name: &str| format!("rpc_registry::{name}");
    let short = [
        "eight",
        "elsewhere::by_another_path",
        "inside",
        "match",
        "other::nothing",
        "patterns",
        "strict::awaited",
        "strict::later",
        "strict::nothing",
        "strict::old",
        "strict::stateful",
        "switched_on",
        "twelve",
        "two",
    ];
    let mut expected: BTreeSet<String> = short.into_iter().map(path).collect();
    expected.insert("the.one/and only".to_owned());
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(names, expected);
}

#[test]
fn a_name_that_is_registered_twice_is_caught_at_start() {
    for program in [env!("CARGO_BIN_EXE_duplicate_workers"), env!("CARGO_BIN_EXE_duplicate_kinds")]
    {
        let output = run(program, &[]);
        assert_eq!(output.status.code(), Some(70), "{program}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "offshoot: two functions are registered as `the same`: give one of them another name with `name = \"…\"`\n"
        );
    }
}
