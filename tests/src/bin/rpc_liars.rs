//! Listens to workers that lie, and says what that has cost it: descriptors, memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use offshoot::{Process, Rpc};
use offshoot_tests::lying::{Lie, kind, plain_lies, tell};
use offshoot_tests::proc::{peak_memory, target};
use offshoot_tests::{DEADLINE, eventually, open_fds};

#[offshoot::worker]
fn lie(lie: Lie) -> u32 {
    tell(&lie)
}

fn start(watched: bool) -> Rpc<Lie, u32> {
    let builder = Process::new().unwrap().rpc(lie).max_reply(200_000);
    if watched { builder.on_error(drop).start().unwrap() } else { builder.start().unwrap() }
}

/// There are no more descriptors than before, once ended templates have been put away.
fn settled(before: &BTreeSet<i32>, what: &str) {
    let start = Instant::now();
    eventually(DEADLINE, what, || {
        drop(Process::new().unwrap());
        let now = open_fds();
        let more: Vec<_> = now.difference(before).map(|fd| target(*fd)).collect();
        assert!(start.elapsed() < DEADLINE / 2, "after {what}: {more:?} more");
        more.is_empty()
    });
}

fn leaks() {
    // The first one makes what stays: the hub.
    for watched in [true, false] {
        assert_eq!(start(watched).call(Lie::None).wait().unwrap(), 5);
        let before = open_fds();
        let mut lies = plain_lies();
        lies.extend([Lie::None, Lie::Twice, Lie::HalfThenExit(3), Lie::Exit(0), Lie::Exit(1)]);
        for told in lies {
            for _ in 0..5 {
                let rpc = start(watched);
                let calls = [told.clone(), Lie::None, Lie::None].map(|l| rpc.call(l));
                for call in calls {
                    let _ = call.wait();
                }
                let _ = rpc.finish();
                // Not waited for at all.
                let rpc = start(watched);
                drop([told.clone(), Lie::None].map(|l| rpc.call(l)));
                rpc.kill().unwrap();
            }
            settled(&before, &format!("{told:?}"));
        }
    }
    println!("no leak");
}

/// A header that claims 4 GiB - 1, and 500 bytes behind it.
fn claim() {
    let rpc = Process::new().unwrap().rpc(lie).start().unwrap();
    assert_eq!(rpc.call(Lie::None).wait().unwrap(), 5);
    let before = peak_memory("self");
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let rpc = Process::new().unwrap().rpc(lie).start().unwrap();
            let claim = Lie::Header { length: u32::MAX, call: 1, kind: kind::REPLY, fds: 0 };
            let mut call = rpc.call(claim);
            assert!(call.wait_timeout(Duration::from_millis(50)).unwrap().is_none());
            (rpc, call)
        })
        .collect();
    let grown = peak_memory("self") - before;
    assert!(grown < 8 << 20, "{grown} bytes");
    for (rpc, call) in calls {
        rpc.kill().unwrap();
        assert!(call.wait().unwrap_err().is_disconnected());
    }
    println!("not taken");
}

/// A thousand descriptors that are for nothing, or for a result that has none.
fn hostages() {
    let limit = 1024;
    // The first one makes what stays: the hub.
    assert_eq!(start(true).call(Lie::None).wait().unwrap(), 5);
    let liars = [start(false), start(false)];
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, limit.min(most), most).unwrap();
    let before = open_fds();
    let [takes, answers] = &liars;
    let mut call = takes.call(Lie::Hostages(false));
    assert!(call.wait_timeout(Duration::from_millis(300)).unwrap().is_none());
    let taken = open_fds().difference(&before).count();
    assert!(taken <= limit as usize / 4, "{taken} are taken");
    // The other one has said all of it, since it has answered.
    let error = answers.call(Lie::Hostages(true)).wait().unwrap_err();
    assert!(error.is_resource(), "{error}");
    std::fs::File::open("/dev/null").unwrap();
    for liar in &liars {
        liar.kill().unwrap();
    }
    assert!(call.wait().unwrap_err().is_disconnected());
    drop(liars);
    settled(&before, "hostages");
    println!("not taken");
}

#[offshoot::main]
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("leaks") => leaks(),
        Some("claim") => claim(),
        Some("hostages") => hostages(),
        other => panic!("{other:?} is no scene"),
    }
}
