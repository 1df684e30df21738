//! What the library adds to the start of a program: some that do nothing, which
//! differ in nothing else (`src/bin`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::Result;
use crate::case::{Against, Case, Prepare, Program, Work, all_of};
use crate::cases::exec::runs;

const PROGRAMS: [&str; 4] = ["start_without", "start_linked", "start_clocked", "start_opted_in"];
const WITHOUT: &str = "a program without offshoot";

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, prepare: Prepare, against, goal| Case {
        group: "start a program that does nothing, learn its status",
        name,
        program: Program::Small,
        prepare,
        against,
        goal,
    };
    let against = Against::Difference(WITHOUT);
    vec![
        case(WITHOUT, || starts("start_without", &[]), Against::Nothing, ""),
        case("linked, not opted in", || starts("start_linked", &[]), against, ""),
        case("of that, the constructor", || clocked("start_clocked"), Against::Nothing, "a few us"),
        case("#[offshoot::main]", || starts("start_opted_in", &[]), against, "under 1 ms"),
        case(
            "#[offshoot::main], and runs a first entry",
            || starts("start_opted_in", &["use"]),
            against,
            "",
        ),
    ]
}

fn starts(name: &str, args: &'static [&'static str]) -> Result<Work> {
    let program = built(name)?;
    all_of(move || runs(Command::new(&program).args(args)))
}

/// The time that the program itself has measured.
fn clocked(name: &str) -> Result<Work> {
    let program = built(name)?;
    Ok(Box::new(move || {
        let told = Command::new(&program).output()?.stdout;
        Ok(Duration::from_nanos(String::from_utf8(told)?.trim().parse()?))
    }))
}

fn built(name: &str) -> Result<PathBuf> {
    static DIRECTORY: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    if !PROGRAMS.contains(&name) {
        return Err(format!("{name} is not among the programs that are built").into());
    }
    let directory = DIRECTORY.get_or_init(|| build().map_err(|e| e.to_string())).clone()?;
    Ok(directory.join(name))
}

/// `cargo run` has built this program only: builds the others, beside it. Not this one, with
/// other features perhaps: it may be started again.
fn build() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own.parent().ok_or("a program lies in a directory")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet"]);
    command.args(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let (target_directory, target) = places(directory).ok_or("not run by cargo")?;
    command.arg("--target-dir").arg(target_directory).args(target);
    let status = command.stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("building the programs to start: {status}").into());
    }
    Ok(directory.to_owned())
}

/// Cargo's directory above `target/[TRIPLE/]PROFILE`, and the option for the triple.
fn places(directory: &Path) -> Option<(PathBuf, Option<String>)> {
    let above = directory.parent()?;
    let triple = above.file_name()?.to_str()?;
    if triple.starts_with(std::env::consts::ARCH) {
        Some((above.parent()?.to_owned(), Some(format!("--target={triple}"))))
    } else {
        Some((above.to_owned(), None))
    }
}
