//! What `pool_scenes` plays, each scene by its name.

mod crowd;
mod ends;
mod fork;
mod rest;
mod shortage;

use nix::unistd::Pid;
use offshoot_tests::open_fds;
use offshoot_tests::probe::{children_of, template_of};

/// Plays the scene that the first argument names.
pub(crate) fn play() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("", String::as_str);
    let all = [crowd::SCENES, ends::SCENES, fork::SCENES, rest::SCENES, shortage::SCENES];
    match all.iter().copied().flatten().find(|(n, _)| *n == name) {
        Some((_, scene)) => scene(),
        None => panic!("there is no scene `{name}`"),
    }
}

type Scene = (&'static str, fn());

/// Its process id, after a nap.
#[offshoot::worker]
fn nap(millis: u64) -> u32 {
    std::thread::sleep(std::time::Duration::from_millis(millis));
    std::process::id()
}

/// What is held before a pool is made; the background thread and the template are there.
struct Before {
    template: u32,
    fds: std::collections::BTreeSet<i32>,
}

impl Before {
    fn now() -> Before {
        let child = offshoot::Process::new().and_then(|p| p.exec(["sleep", "1000"])).unwrap();
        let template = template_of(&child);
        let exited = child.exited_receiver();
        child.kill().unwrap();
        exited.recv().unwrap().unwrap();
        drop(child);
        Before { template, fds: open_fds() }
    }

    /// Fails unless everything comes to be as it was.
    fn is_again(&self) {
        offshoot_tests::eventually(offshoot_tests::DEADLINE, "nothing is left", || {
            let child = offshoot::Process::new().and_then(|p| p.exec(["true"])).unwrap();
            child.wait().unwrap();
            drop(child);
            open_fds() == self.fds
                && children_of(self.template).is_empty()
                && children_of(Pid::this().as_raw() as u32).is_empty()
        });
    }
}
