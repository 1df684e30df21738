//! The scenes of the program `rpc_fds`.

mod refused;
mod sets;

use offshoot::{Context, Fd, Process, Rpc};
use serde::{Deserialize, Serialize};

pub(super) fn play() {
    let scene = std::env::args().nth(1).expect("a scene is named");
    let done = match &*scene {
        "exact" => sets::exact(),
        "no_room" => sets::no_room(),
        "at_rest" => sets::at_rest(),
        "calls_wait" => refused::calls_wait(),
        "calls_given_up" => refused::calls_given_up(),
        "results_wait" => refused::results_wait(),
        "results_given_up" => refused::results_given_up(),
        "pressed" => refused::pressed(),
        other => panic!("no scene {other}"),
    };
    println!("{}", done.unwrap_or("all right"));
}

/// Why a scene could not be played.
type Played = Option<&'static str>;

#[derive(Serialize, Deserialize)]
enum Do {
    Nothing,
    Echo(Vec<Fd>),
    /// Answers with the first of them.
    First(Vec<Fd>),
    Event(Vec<Fd>),
    /// Answers with so many.
    Give(usize),
    Open,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Done {
    fds: Vec<Fd>,
    open: std::collections::BTreeSet<i32>,
}

#[offshoot::worker]
fn act(cx: &Context<Vec<Fd>>, what: Do) -> Done {
    let mut done = Done::default();
    match what {
        Do::Nothing => {}
        Do::Echo(fds) => done.fds = fds,
        Do::First(fds) => done.fds = fds.into_iter().take(1).collect(),
        Do::Event(fds) => cx.event(&fds),
        Do::Give(count) => done.fds = vec![null(); count],
        Do::Open => done.open = offshoot_tests::open_fds(),
    }
    done
}

type Worker = Rpc<Do, Done, Vec<Fd>>;

fn worker(process: Process) -> Worker {
    process.rpc(act).on_event(drop).start().expect("it can be started")
}

fn new() -> Process {
    Process::new().expect("it can be made")
}

fn null() -> Fd {
    std::fs::File::open("/dev/null").expect("it is there").into()
}

/// Makes an event with so many.
#[offshoot::worker]
fn gives(cx: &Context<Vec<Fd>>, count: usize) {
    cx.event(&vec![null(); count]);
}
