//! An unprivileged user who has too many descriptors on their way (ETOOMANYREFS).

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

use super::{Do, Done, Played, act, new, null, worker};

const LIMIT: u64 = 64;
const NOT_ROOT: Played = Some("skipped: only root can become a user who has nothing else");

/// Becomes a user of its own, since descriptors are counted by user.
fn become_somebody() -> bool {
    if !geteuid().is_root() {
        return false;
    }
    let id = 100_000 + std::process::id();
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(id)).unwrap();
    setuid(Uid::from_raw(id)).unwrap();
    true
}

/// Descriptors that are on their way for as long as it lives.
struct Stuck(#[allow(dead_code, reason = "it is there to be dropped")] [UnixStream; 2]);

fn stuck(count: usize) -> Stuck {
    let (a, b) = UnixStream::pair().unwrap();
    let null = null();
    for at in (0..count).step_by(200) {
        let fds = vec![null.as_fd().as_raw_fd(); 200.min(count - at)];
        let rights = [ControlMessage::ScmRights(&fds)];
        let parts = [IoSlice::new(b"x")];
        sendmsg::<()>(a.as_raw_fd(), &parts, &rights, MsgFlags::empty(), None).unwrap();
    }
    Stuck([a, b])
}

fn limit_self() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, LIMIT, most).unwrap();
}

pub(super) fn calls_wait() -> Played {
    if !become_somebody() {
        return NOT_ROOT;
    }
    let rpc = worker(new());
    rpc.call(Do::Nothing).wait().unwrap();
    let stuck = stuck(2 * LIMIT as usize);
    limit_self();
    let before = rpc.call(Do::Nothing);
    let calls = [1, 0, 3, 600].map(|count| (count, rpc.call(Do::Echo(vec![null(); count]))));
    before.wait().unwrap();
    // All of them have been tried to be sent by now.
    drop(stuck);
    for (count, call) in calls {
        match call.wait() {
            Ok(Done { fds, .. }) => assert_eq!(fds.len(), count),
            // There is no room for so many here.
            Err(error) => assert!(count == 600 && error.is_resource(), "{error}"),
        }
    }
    assert!(rpc.finish().unwrap().success());
    None
}

pub(super) fn calls_given_up() -> Played {
    if !become_somebody() {
        return NOT_ROOT;
    }
    let rpc = worker(new());
    rpc.call(Do::Nothing).wait().unwrap();
    let stuck = stuck(2 * LIMIT as usize);
    limit_self();
    // Nothing else is called, so the worker says nothing meanwhile.
    let error = rpc.call(Do::Echo(vec![null()])).wait().unwrap_err();
    assert!(error.is_resource(), "{error}");
    for count in [1, 600] {
        let plain = rpc.call(Do::Nothing);
        let call = rpc.call(Do::Echo(vec![null(); count]));
        let behind = rpc.call(Do::Nothing);
        let error = call.wait().unwrap_err();
        assert!(error.is_resource() && error.to_string().contains("the call"), "{error}");
        plain.wait().unwrap();
        behind.wait().unwrap();
    }
    drop(stuck);
    assert_eq!(rpc.call(Do::Echo(vec![null(); 3])).wait().unwrap().fds.len(), 3);
    assert!(rpc.finish().unwrap().success());
    None
}

pub(super) fn results_wait() -> Played {
    if !become_somebody() {
        return NOT_ROOT;
    }
    let rpc = worker(new().rlimit(offshoot::Resource::OpenFiles, LIMIT, LIMIT));
    rpc.call(Do::Nothing).wait().unwrap();
    let stuck = stuck(2 * LIMIT as usize);
    let (plain, call, behind) =
        (rpc.call(Do::Nothing), rpc.call(Do::Give(2)), rpc.call(Do::Nothing));
    plain.wait().unwrap();
    drop(stuck);
    assert_eq!(call.wait().unwrap().fds.len(), 2);
    behind.wait().unwrap();
    assert!(rpc.finish().unwrap().success());
    None
}

pub(super) fn results_given_up() -> Played {
    if !become_somebody() {
        return NOT_ROOT;
    }
    let (sender, errors) = channel();
    let rpc = new().rlimit(offshoot::Resource::OpenFiles, LIMIT, LIMIT).rpc(act);
    let rpc = rpc.on_event(drop).on_error(move |error| sender.send(error).unwrap());
    let rpc = rpc.start().unwrap();
    rpc.call(Do::Nothing).wait().unwrap();
    let stuck = stuck(2 * LIMIT as usize);
    // As one frame, and as several.
    for count in [1, 300] {
        let (call, behind) = (rpc.call(Do::Give(count)), rpc.call(Do::Nothing));
        let error = call.wait().unwrap_err();
        assert!(error.is_resource() && error.to_string().contains("the result"), "{error}");
        behind.wait().unwrap();
    }
    rpc.call(Do::Event(vec![null(); 1])).wait().unwrap();
    let error = errors.recv().unwrap();
    assert!(error.is_resource() && error.to_string().contains("an event"), "{error}");
    drop(stuck);
    assert_eq!(rpc.call(Do::Give(3)).wait().unwrap().fds.len(), 3);
    assert!(rpc.finish().unwrap().success());
    None
}

/// Far more than the limit, both ways, to several workers at a time.
pub(super) fn pressed() -> Played {
    if !become_somebody() {
        return NOT_ROOT;
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = most.min(1024);
    setrlimit(Resource::RLIMIT_NOFILE, limit, most).unwrap();
    let null = null();
    let workers: Vec<_> =
        (0..4).map(|_| worker(new().rlimit(offshoot::Resource::OpenFiles, 256, 256))).collect();
    let calls: Vec<_> =
        (0..800).map(|n| workers[n % 4].call(Do::First(vec![null.clone(); 20]))).collect();
    for call in calls {
        assert_eq!(call.wait().unwrap().fds.len(), 1);
    }
    for rpc in workers {
        assert!(rpc.finish().unwrap().success());
    }
    None
}
