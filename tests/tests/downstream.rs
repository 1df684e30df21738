//! A dependency registers entries and setup functions of its own.

use std::io::Read;

use offshoot::Process;
use offshoot_downstream as downstream;
use offshoot_tests::{DEADLINE, within};

offshoot::early!();

// What a program registers by the path of a crate that hands the library on is the
// same registry.
#[offshoot::entry(crate = offshoot_downstream::offshoot)]
fn here(start: offshoot::Start) -> std::process::ExitCode {
    (start.args.len() as u8).into()
}

#[offshoot::worker(crate = offshoot_downstream::offshoot)]
fn tell(n: u32) -> String {
    n.to_string()
}

fn said(child: offshoot::Child) -> String {
    let mut said = String::new();
    child.stream().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    said
}

#[test]
fn its_entries_run_by_value() {
    within(DEADLINE, || {
        let child = Process::new().unwrap().send_arg("so").run(downstream::text::shout).unwrap();
        assert_eq!(said(child), "SO");
        // By the path of a re-export: it is the same value.
        let child = Process::new().unwrap().send_arg("so").run(downstream::shout).unwrap();
        assert_eq!(said(child), "SO");
        assert_eq!(downstream::shout.name(), "offshoot_downstream::text::shout");
    });
}

#[test]
fn its_entries_run_by_the_names_of_its_modules() {
    within(DEADLINE, || {
        let named = |name| Process::new().unwrap().send_arg("so").run_named(name);
        assert_eq!(said(named("offshoot_downstream::text::shout").unwrap()), "SO");
        // One that is not public, and one with a name of its own.
        let count = named("offshoot_downstream::text::hidden::count").unwrap();
        assert_eq!(count.wait().unwrap().code(), Some(1));
        assert_eq!(named("named by its library").unwrap().wait().unwrap().code(), Some(7));
        // A re-export is no second name; the nearest one is told.
        let error = named("offshoot_downstream::shout").unwrap_err();
        assert!(error.is_unknown_name());
        assert!(error.to_string().contains("offshoot_downstream::text::shout"), "{error}");
    });
}

#[test]
fn its_setup_functions_load_what_its_entries_use() {
    within(DEADLINE, || {
        let template = Process::new().unwrap().setup(downstream::load, ["do", "re"]);
        for word in ["mi", "fa"] {
            let child = template.fork().unwrap().send_arg(word).run(downstream::shout).unwrap();
            assert_eq!(said(child), format!("DO RE {}", word.to_uppercase()));
        }
    });
}

#[test]
fn it_makes_processes_itself() {
    within(DEADLINE, || {
        assert_eq!(downstream::count_elsewhere(&["a", "b", "c"]).unwrap(), Some(3));
    });
}

#[test]
fn its_workers_are_called_by_value_and_by_itself() {
    within(DEADLINE, || {
        let call = offshoot::spawn(downstream::letters, ("letters".to_owned(), 't')).unwrap();
        assert_eq!(call.wait().unwrap(), 2);
        assert_eq!(downstream::letters.name(), "offshoot_downstream::text::letters");
        let (said, count) = downstream::add_elsewhere(&["do", "re"]).unwrap();
        assert_eq!((said, count), (vec!["DO".to_owned(), "RE".to_owned()], 3));
        let call = downstream::offshoot::spawn(tell, 7).unwrap();
        assert_eq!(call.wait().unwrap(), "7");
    });
}

#[test]
fn a_re_exported_library_is_the_same_library() {
    within(DEADLINE, || {
        let child = downstream::offshoot::Process::new().unwrap().send_arg("a").run(here).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
    });
}

#[test]
fn the_doctor_lists_all_names() {
    let doctor = offshoot::doctor();
    let expected = [
        "downstream::here",
        "downstream::tell",
        "named by its library",
        "offshoot_downstream::text::hidden::add",
        "offshoot_downstream::text::hidden::count",
        "offshoot_downstream::text::letters",
        "offshoot_downstream::text::load",
        "offshoot_downstream::text::shout",
    ];
    // The support of all tests has some too.
    let found = doctor.entries.iter().copied().filter(|n| !n.starts_with("offshoot_tests::"));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let printed = doctor.to_string();
    for name in expected {
        assert!(printed.contains(name), "{printed}");
    }
}
