//! Many requests at once while workers are killed at random: by clients of our own, and
//! by wrk where it is installed.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;

use nix::sys::signal::Signal;
use offshoot_tests::{DEADLINE, run_command, within};

use super::client::{Server, picture, post, stats};

/// The server ends well under whatever is left of it; how many workers died before.
fn end(server: Server) -> u64 {
    let said = stats(&server.address);
    server.signal(Signal::SIGTERM);
    let last = server.ends();
    assert!(last.contains(" workers were killed\nended: "), "{last}");
    said["workers_died"].as_u64().unwrap()
}

#[test]
fn every_request_is_answered_while_workers_are_killed() {
    within(DEADLINE, || {
        let server = Server::start(&["--jobs", "2", "--chaos", "30"]);
        let picture = picture();
        let statuses: Vec<u16> = thread::scope(|scope| {
            let client = || (0..75).map(|_| post(&server.address, &picture).status).collect();
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
            clients.into_iter().flat_map(|c| -> Vec<u16> { c.join().unwrap() }).collect()
        });
        let mut counts = BTreeMap::new();
        statuses.iter().for_each(|status| *counts.entry(*status).or_insert(0) += 1);
        let (good, again) = (counts.remove(&200).unwrap_or(0), counts.remove(&503).unwrap_or(0));
        assert!(counts.is_empty() && good + again == 300, "{good}, {again}, {counts:?}");
        assert!(good > 0, "nothing was done");
        assert!(end(server) > 0, "nobody was killed");
    });
}

/// Counts statuses. What wrk still waits for when its time is up is not counted.
const SCRIPT: &str = r#"
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  good, again, other = 0, 0, 0
end

function response(status)
  if status == 200 then good = good + 1
  elseif status == 503 then again = again + 1
  else other = other + 1 end
end

function done(summary)
  local sums = { good = 0, again = 0, other = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
  end
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  print("counted", sums.good, sums.again, sums.other, broken)
end
"#;

#[test]
fn wrk_gets_an_answer_to_every_request_while_workers_are_killed() {
    if Command::new("wrk").arg("--version").output().is_err() {
        println!("skipped: wrk is not installed");
        return;
    }
    within(DEADLINE, || {
        let dir = tempfile::tempdir().unwrap();
        let (script, body) = (dir.path().join("count.lua"), dir.path().join("picture.png"));
        fs::write(&script, SCRIPT).unwrap();
        fs::write(&body, picture()).unwrap();
        let server = Server::start(&["--jobs", "2", "--chaos", "30"]);
        let url = format!("http://{}/thumbnail", server.address);
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", "2", "--connections", "16", "--duration", "2s"]);
        wrk.args(["--timeout", "60s", "--script"]).arg(script).args([&url, "--"]).arg(body);
        let said = run_command(&mut wrk);
        let said = String::from_utf8(said.stdout).unwrap();
        let counted = said.lines().find_map(|line| line.strip_prefix("counted\t")).expect(&said);
        let counts: Vec<u64> = counted.split('\t').map(|n| n.parse().unwrap()).collect();
        let [good, _again, other, broken] = counts[..] else { panic!("{said}") };
        assert!(good > 0 && other == 0 && broken == 0, "{said}");
        assert!(end(server) > 0, "nobody was killed");
    });
}
