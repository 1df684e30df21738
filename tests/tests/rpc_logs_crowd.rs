//! More callsites than a program has: they are thrown together in the end. (A test of its
//! own: callsites are for ever.)

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::BorrowedFd;

use offshoot::Process;
use offshoot_tests::logged::Logged;
use offshoot_tests::{DEADLINE, open_fds, within};
use tracing::Level;

offshoot::early!();

const CALLSITES: u32 = 10_100;

fn number(n: u32) -> [u8; 2] {
    [n as u8 | 0x80, (n >> 7) as u8]
}

/// Tells of callsites that it makes up, each with a field of another name, and of an event
/// from each.
#[offshoot::worker]
fn makes_callsites_up() {
    let fd = open_fds().into_iter().find(|fd| *fd > 2).unwrap();
    // SAFETY: it is the stream, open as long as this process lives.
    #[allow(unsafe_code)]
    let stream = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut stream = std::fs::File::from(stream.try_clone_to_owned().unwrap());
    let mut write = |body: &[&[u8]]| {
        let body = body.concat();
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.extend([0, 0, 0, 0, 9, 0, 0, 0]);
        frame.extend(body);
        stream.write_all(&frame).unwrap();
    };
    for n in 0..CALLSITES {
        let field = format!("field{n:05}");
        write(&[&[1, 0, 2, 1, b'n', 1, b't', 0, 0, 0, 1, 10], field.as_bytes()]);
        // A number: 7.
        write(&[&[7], &number(n), &[0, 1, 0, 1, 7]]);
    }
}

#[test]
fn callsites_beyond_all_measure_are_thrown_together() {
    within(2 * DEADLINE, || {
        let logged = Logged::up_to(Level::INFO);
        let rpc = Process::new().unwrap().rpc(makes_callsites_up).forward_logs(true);
        let rpc = tracing::subscriber::with_default(logged.clone(), || rpc.start().unwrap());
        rpc.call(()).wait().unwrap();
        let events = logged.events();
        assert_eq!(events.len(), CALLSITES as usize);
        let places: HashSet<_> = events.iter().map(|e| e.from.callsite()).collect();
        assert_eq!(places.len(), 10_000 + 1);
        assert_eq!(events[9_999].fields.number("field09999"), Some(7));
        let common = events.last().unwrap();
        assert_eq!(common.fields.text("message"), Some("7"));
        assert_eq!(common.from.target(), "offshoot::workers");
        assert_eq!(*common.from.level(), Level::INFO);
        assert_eq!(common.fields.number("worker.pid"), Some(rpc.id().unwrap().into()));
    });
}
