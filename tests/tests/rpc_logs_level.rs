//! A worker is told what this program wants to hear, and does not even make the rest. (One
//! test: the most verbose subscriber of the whole program decides.)

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use offshoot::Process;
use offshoot_tests::logged::Logged;
use offshoot_tests::{DEADLINE, within};
use tracing::{Level, debug, enabled, error, info};

offshoot::early!();

/// Counts how often it is written.
struct Counted<'a>(&'a AtomicU32);

impl fmt::Debug for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Ordering::Relaxed);
        f.write_str("counted")
    }
}

#[offshoot::worker]
fn wanted() -> (u32, [bool; 3]) {
    let written = AtomicU32::new(0);
    let value = Counted(&written);
    error!(?value);
    info!(?value);
    debug!(?value);
    let enabled = [enabled!(Level::ERROR), enabled!(Level::INFO), enabled!(Level::DEBUG)];
    (written.into_inner(), enabled)
}

#[test]
fn what_nobody_wants_is_not_made() {
    within(DEADLINE, || {
        for (level, expected) in [
            (Level::ERROR, (1, [true, false, false])),
            (Level::INFO, (2, [true, true, false])),
            (Level::TRACE, (3, [true, true, true])),
        ] {
            let logged = Logged::up_to(level);
            tracing::subscriber::with_default(logged.clone(), || {
                let rpc = Process::new().unwrap().rpc(wanted).forward_logs(true).start().unwrap();
                assert_eq!(rpc.call(()).wait().unwrap(), expected);
            });
            assert_eq!(logged.events().len(), expected.0 as usize);
        }
    });
}
