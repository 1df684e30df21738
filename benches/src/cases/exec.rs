//! Executing another program.

use std::process::{Command, Stdio};

use offshoot::Process;

use crate::Result;
use crate::case::{Against, Case, Program, Work, all_of};
use crate::cases::create::ended_well;

const COMMAND: &str = "std::process::Command";
const OURS: &str = "offshoot: exec";
const TRUE: &str = "/bin/true";

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, program, prepare, against| Case {
        group: "execute /bin/true, learn the status",
        name,
        program,
        prepare,
        against,
        goal: "",
    };
    vec![
        case(COMMAND, Program::Small, command, Against::Nothing),
        case(OURS, Program::Small, ours, Against::Rate(COMMAND)),
        case("Command, from the large program", Program::Large, command, Against::Rate(COMMAND)),
        case("offshoot: exec, from the large program", Program::Large, ours, Against::Rate(OURS)),
    ]
}

pub(crate) fn runs(command: &mut Command) -> Result<()> {
    // The standard output is that of the protocol with the bench.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

fn command() -> Result<Work> {
    all_of(|| runs(&mut Command::new(TRUE)))
}

fn ours() -> Result<Work> {
    all_of(|| ended_well(&Process::new()?.exec([TRUE])?))
}
