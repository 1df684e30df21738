//! The examples of calls.

use std::fs;

use crate::built::output_of;

/// What the manual of `AnyEvent::Fork::RPC` prints for its first example.
#[test]
fn rpc_rmdir() {
    assert_eq!(
        output_of("rpc_rmdir"),
        "/tmp/somepath/1: No such file or directory\n\
         /tmp/somepath/2: No such file or directory\n\
         3 requests handled\n\
         /tmp/somepath/3: No such file or directory\n\
         /tmp/somepath/4: No such file or directory\n\
         /tmp/somepath/5: No such file or directory\n\
         6 requests handled\n\
         /tmp/somepath/6: No such file or directory\n"
    );
}

#[test]
fn rpc_fds() {
    let said = output_of("rpc_fds");
    let lines: Vec<_> = said.lines().collect();
    let [first, shadow, hosts, passwd] = lines[..] else { panic!("{said}") };
    let by_whoever_runs_this = match fs::read("/etc/shadow") {
        Ok(text) => format!("{} bytes", text.len()),
        Err(error) => error.kind().to_string(),
    };
    if nix::unistd::geteuid().is_root() {
        assert_eq!(first, "root became user 65534");
        if by_whoever_runs_this.ends_with("bytes") {
            assert!(shadow.contains("by ourselves: permission denied;"), "{shadow}");
        }
    } else {
        assert!(first.starts_with("not root: nothing to give up as user "), "{first}");
    }
    let by_the_worker = format!("; by the worker: {by_whoever_runs_this}");
    assert!(shadow.starts_with("/etc/shadow: ") && shadow.ends_with(&by_the_worker), "{shadow}");
    let bytes = fs::metadata("/etc/hosts").unwrap().len();
    let expected = format!("/etc/hosts: by ourselves: allowed; by the worker: {bytes} bytes");
    assert_eq!(hosts, expected);
    let refused = "by the worker: it is not on the list";
    assert!(passwd.starts_with("/etc/passwd: by ourselves: allowed; "), "{passwd}");
    assert!(passwd.ends_with(refused), "{passwd}");
}
