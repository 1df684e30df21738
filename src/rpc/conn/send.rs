//! Sending what is queued.

use std::os::fd::AsRawFd;

use nix::sys::socket::{Shutdown, shutdown};

use super::super::frame::{Frame, Kind};
use super::super::refusal::Refusal;
use super::super::worker::Style;
use super::Conn;

impl Conn {
    /// Sends what is queued, as far as there is room, unless somebody is sending.
    pub(in super::super) fn flush(&self) {
        let mut state = self.state();
        if state.writing || state.held {
            // That one looks again before it stops.
            return;
        }
        loop {
            if state.finishing && self.style == Style::Async && !state.told_finish && !state.cut_off
            {
                // Not the end of the stream: calls that are open can still be cancelled.
                state.told_finish = true;
                state.outbox.push(Frame::plain(Kind::Finish, 0, &()));
            }
            if state.outbox.is_empty() || state.cut_off {
                break;
            }
            state.writing = true;
            state.unsent = 0;
            let mut chunk = state.outbox.take().expect("it is not empty");
            let fds = chunk.fds();
            if fds > 0 && !state.window.admits(fds, self.child.stream()) {
                match self.refused(state, chunk) {
                    Some(again) => state = again,
                    None => return,
                }
                continue;
            }
            drop(state);
            let done = chunk.write(self.child.stream(), false);
            state = self.state();
            state.writing = false;
            if fds > chunk.fds() {
                state.refusal = None;
                state.window.sent(fds);
            }
            match done {
                Err(error) if Refusal::is(&error) => match self.refused(state, chunk) {
                    Some(again) => state = again,
                    None => return,
                },
                Ok(all) => {
                    state.outbox.put_back(chunk);
                    state.blocked = !all;
                    if !all {
                        drop(state);
                        self.arm_write();
                        return;
                    }
                }
                Err(_) => {
                    // Gone: reading tells how it ended. What stays tells which calls have
                    // not been sent.
                    state.outbox.put_back(chunk);
                    state.cut_off = true;
                    state.blocked = false;
                    let _ = shutdown(self.child.stream().as_raw_fd(), Shutdown::Write);
                }
            }
        }
        if state.finishing && self.style == Style::Sync && !std::mem::replace(&mut state.shut, true)
        {
            // The worker finds the end behind the last call.
            let _ = self.child.stream().shutdown(std::net::Shutdown::Write);
        }
        self.tell_room(state);
    }
}
