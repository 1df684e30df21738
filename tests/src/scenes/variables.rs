//! What variables in the environment say to a program, and to its processes.

use offshoot::{Args, Process};
use offshoot_tests::proc::huge_pages;

use super::{Scene, template_of, until_closed, works};

pub(super) const SCENES: &[Scene] = &[("environment", environment), ("preloaded", preloaded)];

/// Prints the environments of two processes, as execve(2) is given them: of one from the
/// template that there is, and of one from a template of its own.
fn environment(_: &[String]) {
    let executed = Process::new_exec().expect("it is made");
    for process in [Process::new().expect("it is made"), executed] {
        works(process.fork().expect("it can be forked"));
        let child = process.exec(["/bin/cat", "/proc/self/environ"]).expect("it is sent");
        assert!(child.wait().expect("its status is told").success());
    }
}

#[offshoot::setup]
fn preload(_args: Args) {
    std::mem::forget(vec![1u8; 64 << 20]);
}

/// Prints how many MiB of what a template has loaded are in huge pages, if the kernel
/// makes such.
fn preloaded(_: &[String]) {
    let template = Process::new().expect("it is made").setup(preload, [""; 0]);
    let child = template.fork().and_then(|p| p.run(until_closed)).expect("it runs");
    match offshoot::doctor().madv_collapse {
        true => println!("{}", huge_pages(template_of(&child).pid())),
        false => println!("none here"),
    }
}
