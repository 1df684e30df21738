//! Each example is run as a new user would run it, and what it prints is checked.

mod built;
mod calls;
mod page;
mod pool_server;
mod rpc;
mod rpc_logs;
mod server;
mod small;
mod thumbs;
mod thumbs_odd;

/// The examples that have a test here.
const TESTED: [&str; 13] = [
    "exec_echo",
    "hello",
    "nested",
    "pool_server",
    "prefork_server",
    "preload",
    "rpc_countdown",
    "rpc_fds",
    "rpc_logs",
    "rpc_rmdir",
    "rpc_tokio",
    "template",
    "thumbs",
];

#[test]
fn every_example_has_a_test() {
    let dir = built::root().join("examples");
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs") || path.join("main.rs").exists())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, TESTED);
}
