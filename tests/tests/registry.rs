//! Functions become values that are known by name in all processes of the program.

use std::io::{self, Read, Write};
use std::process::{ExitCode, Termination};

use offshoot::{Args, Process, Start, doctor};
use offshoot_tests::{DEADLINE, output_of, run, within};

offshoot::early!();

mod pages {
    //! A module whose entries are seen from elsewhere, or not.

    pub(crate) mod images {
        use offshoot::Start;

        /// Makes them small.
        #[offshoot::entry]
        pub(crate) fn thumbnail(_: Start) -> std::process::ExitCode {
            31.into()
        }

        #[offshoot::entry]
        fn private(_: Start) -> std::process::ExitCode {
            32.into()
        }
    }

    /// Of the same name as another, in another module.
    #[offshoot::entry]
    pub(super) fn thumbnail(_: offshoot::Start) -> std::process::ExitCode {
        33.into()
    }

    pub(super) use images::thumbnail as renamed_by_use;
}

#[offshoot::entry(name = "the.one/and only")]
fn named_otherwise(_: Start) -> ExitCode {
    34.into()
}

/// What it returns has no name, but a status.
#[offshoot::entry]
fn opaque(start: Start) -> impl Termination {
    match start.args.len() {
        0 => Ok(ExitCode::from(35)),
        _ => Err("some arguments"),
    }
}

#[offshoot::entry]
fn r#match(_: Start) -> ExitCode {
    36.into()
}

#[offshoot::entry]
fn with_patterns(Start { mut stream, args, .. }: Start) -> io::Result<()> {
    stream.write_all(&args.concat())
}

/// Calls another, as the function that it still is.
#[offshoot::entry]
fn caller(start: Start) -> io::Result<()> {
    let called: fn(Start) -> io::Result<()> = *with_patterns;
    (&start.stream).write_all(b"called: ")?;
    if start.args.len() > 1 { called(start) } else { with_patterns(start) }
}

mod other {
    #[offshoot::setup(name = "registry::caller")]
    pub(super) fn of_the_name_of_an_entry(_: offshoot::Args) {}
}

mod elsewhere {
    pub(super) use ::offshoot as reexported;

    #[reexported::entry(crate = reexported)]
    pub(super) fn by_another_path(_: reexported::Start) -> std::process::ExitCode {
        37.into()
    }
}

fn new() -> Process {
    Process::new().unwrap()
}

fn code(child: Result<offshoot::Child, offshoot::Error>) -> Option<i32> {
    child.unwrap().wait().unwrap().code()
}

#[test]
fn entries_are_run_by_value_wherever_they_are() {
    within(DEADLINE, || {
        assert_eq!(code(new().run(pages::images::thumbnail)), Some(31));
        assert_eq!(code(new().run(pages::thumbnail)), Some(33));
        assert_eq!(code(new().run(pages::renamed_by_use)), Some(31));
        assert_eq!(code(new().run(named_otherwise)), Some(34));
        assert_eq!(code(new().run(opaque)), Some(35));
        assert_eq!(code(new().send_arg("x").run(opaque)), Some(1));
        assert_eq!(code(new().run(r#match)), Some(36));
        assert_eq!(code(new().run(elsewhere::by_another_path)), Some(37));
    });
}

#[test]
fn entries_are_run_by_name() {
    within(DEADLINE, || {
        for (name, status) in [
            ("registry::pages::images::thumbnail", 31),
            ("registry::pages::images::private", 32),
            ("registry::pages::thumbnail", 33),
            ("the.one/and only", 34),
            ("registry::opaque", 35),
            ("registry::match", 36),
            ("registry::elsewhere::by_another_path", 37),
        ] {
            assert_eq!(code(new().run_named(name)), Some(status), "{name}");
            assert!(doctor().entries.contains(&name));
        }
    });
}

#[test]
fn a_handle_knows_its_name() {
    assert_eq!(pages::images::thumbnail.name(), "registry::pages::images::thumbnail");
    assert_eq!(named_otherwise.name(), "the.one/and only");
    assert_eq!(other::of_the_name_of_an_entry.name(), caller.name());
    let name: &str = r#match.into();
    assert_eq!(name, "registry::match");
    assert_eq!(format!("{named_otherwise:?}"), "Entry(\"the.one/and only\")");
}

#[test]
fn an_entry_can_still_be_called() {
    within(DEADLINE, || {
        for args in [&["a"][..], &["a", "b"]] {
            let process = args.iter().fold(new(), |p, arg| p.send_arg(arg));
            let child = process.run(caller).unwrap();
            let mut said = String::new();
            child.stream().read_to_string(&mut said).unwrap();
            assert_eq!(said, format!("called: {}", args.concat()));
            assert!(child.wait().unwrap().success());
        }
    });
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    within(DEADLINE, || {
        for (wrong, meant) in [
            ("thumbnial", "registry::pages::thumbnail"),
            ("thumbnial", "registry::pages::images::thumbnail"),
            ("registry::pages::image::thumbnail", "registry::pages::images::thumbnail"),
            ("the one and only", "the.one/and only"),
            ("registry::Opaque", "registry::opaque"),
            ("", "registry::opaque"),
        ] {
            let error = new().run_named(wrong).unwrap_err();
            let text = error.to_string();
            assert!(error.is_unknown_name(), "{text}");
            assert!(text.contains(&format!("`{wrong}`")), "{text}");
            // Of no use to somebody who meant nothing in particular.
            assert!(wrong.is_empty() || text.contains(&format!("`{meant}`")), "{text}");
        }
        // A setup function is no entry.
        let error = new().run_named(setup_only.name()).unwrap_err();
        assert!(error.is_unknown_name() && error.to_string().contains("no entry"), "{error}");
    });
}

#[offshoot::setup]
fn setup_only(_: Args) {}

#[test]
fn an_unknown_name_sends_nothing() {
    // In a program without opt-in the first thing that is sent makes a template.
    let said = output_of(env!("CARGO_BIN_EXE_unknown_name"), &[]);
    assert_eq!(said, "unknown: 0 children\nknown: 1 children\n");
}

#[test]
fn a_name_that_is_registered_twice_is_caught_at_start() {
    for program in [env!("CARGO_BIN_EXE_duplicate"), env!("CARGO_BIN_EXE_duplicate_setups")] {
        let output = run(program, &[]);
        assert_eq!(output.status.code(), Some(70), "{program}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "offshoot: two functions are registered as `the same`: give one of them another name with `name = \"…\"`\n"
        );
    }
}

#[test]
fn more_names_of_privileged_entries_than_a_message_holds_are_an_error() {
    within(DEADLINE, || {
        let privileged = |times| offshoot::privileged(std::iter::repeat_n(opaque, times));
        let error = privileged(1000).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE), "{error}");
        // The template has heard nothing of it, and goes on.
        privileged(100).unwrap();
        assert_eq!(code(new().run(opaque)), Some(35));
    });
}
