//! A worker that has no room for descriptors: the calls that bring them fail, and no other.

use std::collections::BTreeSet;

use offshoot::{Fd, Process};
use offshoot_tests::marked::watched;
use offshoot_tests::{DEADLINE, open_fds, within};

const ROOM: u64 = 40;

#[offshoot::worker]
fn opened(fds: Vec<Fd>) -> (BTreeSet<i32>, usize) {
    let count = fds.len();
    drop(fds);
    (open_fds(), count)
}

#[test]
fn only_calls_with_too_many_fail() {
    within(DEADLINE, || {
        let process = Process::new().unwrap().rlimit(offshoot::Resource::OpenFiles, ROOM, ROOM);
        let rpc = process.rpc(opened).start().unwrap();
        let (before, _) = rpc.call(Vec::new()).wait().unwrap();
        let (fd, closed) = watched();
        // What fits, what does not, what needs several messages: all in flight at once.
        let calls: Vec<_> = (0..200)
            .map(|n| [0, 5, 60, 1, 0, 253, 300, 2, 600, 20][n % 10])
            .map(|count| (count, rpc.call(vec![fd.clone(); count])))
            .collect();
        drop(fd);
        for (count, call) in calls {
            match call.wait() {
                Ok((now, arrived)) => {
                    assert!(arrived == count && count <= 20, "{count} cannot be there");
                    let more = now.difference(&before).count();
                    // Those of a few calls that wait there already.
                    assert!(before.is_subset(&now) && more <= 20 + 16, "{more} more are open");
                }
                Err(error) => assert!(error.is_resource() && count > 20, "{count}: {error}"),
            }
        }
        assert_eq!(closed.closed(), "");
        assert_eq!(rpc.call(Vec::new()).wait().unwrap(), (before, 0));
        assert!(rpc.finish().unwrap().success());
    });
}
