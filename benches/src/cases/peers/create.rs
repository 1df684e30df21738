//! Processes, by `zygote` and `procspawn`.

use zygote::Zygote;

use crate::Result;
use crate::case::{Against, Case, Program, Work, all_of};
use crate::cases::create::{ONE, PLAIN};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, program, prepare| Case {
        group: ONE,
        name,
        program,
        prepare,
        against: Against::Rate(PLAIN),
        goal: "",
    };
    vec![
        // It knows no end but that by a signal.
        case("zygote: spawn, run, drop, which kills", Program::Small, zygote),
        case("procspawn: spawn, join", Program::Respawned, procspawn),
    ]
}

fn zygote() -> Result<Work> {
    let template = Zygote::new();
    all_of(move || Ok(template.spawn().try_run(|()| (), ())?))
}

fn procspawn() -> Result<Work> {
    all_of(|| Ok(procspawn::spawn((), |()| ()).join()?))
}
