//! What `ps` shows of processes, of templates too, and whose they are.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use offshoot::{Child, Process, Start};
use offshoot_tests::probe::{settled, template_of};

use super::{Scene, for_ever, touch};

pub(super) const SCENES: &[Scene] = &[("titles", titles)];

/// Name, and command line, of a process.
fn shown(pid: u32) -> [String; 2] {
    ["comm", "cmdline"].map(|file| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it runs");
        text.trim_end_matches(['\0', '\n']).to_owned()
    })
}

/// A name is cut at 15 bytes.
fn title(name: &str, line: &str) -> [String; 2] {
    [name.chars().take(15).collect(), line.to_owned()]
}

fn new() -> Process {
    Process::new().expect("processes can be made")
}

/// Says that it has its title by now, and stays.
#[offshoot::entry]
fn titled(mut start: Start) -> std::io::Result<()> {
    start.stream.write_all(b"x")?;
    for_ever()
}

fn running(process: Process) -> Child {
    let child = process.run(titled).expect("it runs");
    child.stream().read_exact(&mut [0]).expect("it says so");
    child
}

fn child_of(process: &Process) -> Child {
    process.fork().map(running).expect("it can be forked")
}

/// The program that makes these processes is the one that titles name. (It has long
/// arguments: as many bytes as they have can be shown.)
fn name_this_program() {
    let path = std::env::args().next().expect("it has a name");
    let program = Path::new(&path).file_name().and_then(|f| f.to_str()).expect("it is text");
    let owner = format!("{program}[{}]", std::process::id());
    let template = title(&format!("tmpl:{owner}"), &format!("offshoot: template of {owner}"));
    let child = title("titled", &format!("offshoot: {} of {owner}", titled.name()));

    for process in [new(), settled(new()), settled(new().setup(touch, [""; 0]))] {
        let of_it = child_of(&process);
        assert_eq!(shown(template_of(&of_it)), template);
        assert_eq!(shown(of_it.id().expect("it runs")), child);
    }
    let titled_too = settled(new().title("a template of its own").setup(touch, [""; 0]));
    let of_it = child_of(&titled_too);
    let own = title("a template of its own", "a template of its own");
    assert_eq!(shown(template_of(&of_it)), own);
    // The title was for that process alone.
    assert_eq!(shown(of_it.id().expect("it runs")), child);
    let named = running(titled_too.title("a child"));
    assert_eq!(shown(named.id().expect("it runs")), title("a child", "a child"));
}

/// Processes of the program, and of a process of it.
fn titles(_: &[String]) {
    name_this_program();
    let snapshot = Process::snapshot().expect("there is one thread");
    let of_it = child_of(&snapshot);
    let owner = shown(template_of(&of_it))[1].clone();
    assert!(owner.ends_with(&format!("[{}]", std::process::id())), "{owner}");
    let child = new().run(names_itself).expect("it runs");
    let mut said = String::new();
    child.stream().read_to_string(&mut said).expect("it is text");
    assert!(child.wait().expect("its status is told").success());
}

#[offshoot::entry]
fn names_itself(_start: Start) {
    name_this_program();
}
