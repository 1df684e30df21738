//! The synchronous worker: one call at a time, in order; many requests with one read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::codec::Body;
use super::frame::{Failed, Kind};
use super::inbox::Arrived;
use super::intake::Cancelled;
use super::panics;
use super::session::{self, Next, Session, refused};
use super::worker::{Called, CalledSync, Speech};
use crate::start::Start;

/// Cancelled calls are looked for when so much time has passed since the last look.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// Serves a worker until the parent is done; the exit status.
#[doc(hidden)]
pub fn serve_sync<W: CalledSync>(
    start: Start,
    speeches: &'static [Speech<W::Args, W::Reply, W::Event>],
) -> u8 {
    let (mut session, queued) = match Session::begin(start) {
        Ok(begun) => begun,
        Err(status) => return status,
    };
    let _ends = session.ends();
    let Some(speech) = speeches.get(session.hello.codec as usize) else {
        return refused("it does not know that codec");
    };
    let cx = session.context(speech.encode_event);
    let Some(mut state) = session.init(|given| W::init(queued, given, &cx)) else { return 1 };
    let output = session.output();
    let mut call = |id: u32, body: Body<'_>, fds| {
        let mut answered = false;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let args = super::fd::provide(fds, || (speech.decode_args)(&body))
                .map_err(|e| Failed::Codec(e.to_string()))?;
            let reply = W::call(&mut state, &cx, args);
            output.send(Kind::Reply, id, |sink| (speech.encode_reply)(&reply, sink));
            answered = true;
            Ok(())
        }));
        match result {
            Ok(Ok(())) => true,
            Ok(Err(failed)) => {
                output.fail(id, &failed);
                true
            }
            Err(payload) => {
                // The drop of the result may panic too.
                if !answered {
                    output.fail(id, &panics::taken(&*payload));
                }
                false
            }
        }
    };
    let status = run(&mut session, &mut call);
    if status == 0 {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            drop(state);
            <W as Called>::done();
        }));
        session.output().flush();
        return if ended.is_ok() { 0 } else { panics::STATUS };
    }
    status
}

/// Calls until there are no more. `call` says whether it has not panicked.
fn run(
    session: &mut Session,
    call: &mut dyn FnMut(u32, Body<'_>, Vec<std::os::fd::OwnedFd>) -> bool,
) -> u8 {
    let output = session.output();
    let mut cancelled = Cancelled::default();
    let mut finished = false;
    let mut looked = Instant::now();
    while !finished {
        match session.next_frame() {
            Ok(Next::Frame) => {}
            Ok(Next::End) => return 0,
            Err(status) => return status,
        }
        let is_cut = session.inbox.is_read_cut();
        if is_cut && session.inbox.can_look_ahead() && looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            if let Err(status) = session.look() {
                return status;
            }
        }
        let frames = cancelled.look_for(&mut session.inbox).frames;
        if frames > 1 && !is_cut {
            // Behind a call that came alone there is nothing to look for, and no need to
            // know the time.
            looked = Instant::now();
        }
        loop {
            let Arrived { head, body, fds, fds_lost } = match session.inbox.next() {
                Ok(Some(arrived)) => arrived,
                Ok(None) => break,
                Err(why) => return refused(why.0),
            };
            match head.kind {
                Kind::Void => continue,
                Kind::Ring => {
                    session::use_ring(&output, fds);
                    continue;
                }
                Kind::Cancel => {
                    cancelled.had_its_turn(head.call);
                    continue;
                }
                Kind::Finish => {
                    // A Cancel may follow, for one of the calls that were before.
                    finished = true;
                    continue;
                }
                Kind::Call if cancelled.contains(head.call) => {
                    output.fail(head.call, &Failed::Cancelled);
                    continue;
                }
                Kind::Call if fds_lost => {
                    output.fail(head.call, &Failed::NoRoomForFds);
                    continue;
                }
                Kind::Call => {}
                _ => return refused("a frame that is not for a worker"),
            }
            let unharmed = call(head.call, body, fds);
            if !unharmed && !session.hello.keep_after_panic {
                output.flush();
                return panics::STATUS;
            }
            // A call that waits here, or behind, may have been cancelled meanwhile.
            let more = session.inbox.waiting() > 0 || session.inbox.is_read_cut();
            if more && looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                if let Err(status) = session.look() {
                    return status;
                }
                cancelled.look_for(&mut session.inbox);
            }
        }
        if !output.flush() {
            return refused("nobody listens any more");
        }
    }
    0
}
