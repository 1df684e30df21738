//! Forks of a template that has loaded much.

use std::hint::black_box;
use std::sync::Mutex;

use offshoot::{Args, Process};

use crate::Result;
use crate::case::{Against, Case, Prepare, Program, Work, all_of};
use crate::cases::create::{empty, ended_well};

const EMPTY: &str = "fork of an empty template";

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, prepare: Prepare, against, goal| Case {
        group: "template prepared by a setup function; fork, run, wait",
        name,
        program: Program::Small,
        prepare,
        against,
        goal,
    };
    vec![
        case(EMPTY, || forks("0", true), Against::Nothing, ""),
        case("200 MB loaded, huge pages", || forks("200", true), Against::Time(EMPTY), "at most 4"),
        case("200 MB loaded, small pages", || forks("200", false), Against::Time(EMPTY), ""),
    ]
}

static LOADED: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// Many small allocations, as of a program that has parsed something.
#[offshoot::setup]
fn load(args: Args) -> std::result::Result<(), std::num::ParseIntError> {
    let megabytes: usize = args.text().concat().parse()?;
    let pieces = megabytes * 1000;
    let mut loaded = LOADED.lock().unwrap_or_else(|e| e.into_inner());
    loaded.extend((0..pieces).map(|i| black_box(vec![i as u8; 1000].into_boxed_slice())));
    Ok(())
}

fn forks(megabytes: &'static str, huge_pages: bool) -> Result<Work> {
    let template = Process::new()?.huge_pages(huge_pages).setup(load, [megabytes]);
    all_of(move || ended_well(&template.fork()?.run(empty)?))
}
