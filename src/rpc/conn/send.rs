//! Sending what is queued.

use std::os::fd::AsRawFd;
use std::sync::MutexGuard;

use nix::sys::socket::{Shutdown, shutdown};

use super::super::frame::{Frame, Kind, give_scratch};
use super::super::outbox::Chunk;
use super::super::refusal::Refusal;
use super::super::worker::Style;
use super::{Conn, State};

impl Conn {
    /// Sends what is queued, as far as there is room, unless somebody is sending.
    pub(in super::super) fn flush(&self) {
        self.flush_with(self.state());
    }

    /// The same, for one who has the state already. Whether the socket has no room.
    pub(super) fn flush_with<'a>(&'a self, state: MutexGuard<'a, State>) -> bool {
        if state.writing || state.held {
            // That one looks again before it stops.
            return state.blocked;
        }
        self.send(state, None)
    }

    /// Sends what is queued, after what is `first` and has been taken already. Nobody else
    /// is sending. Whether the socket has no room.
    pub(super) fn send<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        mut first: Option<Chunk>,
    ) -> bool {
        loop {
            if first.is_none()
                && state.finishing
                && self.style == Style::Async
                && !state.told_finish
                && !state.cut_off
            {
                // Not the end of the stream: calls that are open can still be cancelled.
                state.told_finish = true;
                state.outbox.push(Frame::plain(Kind::Finish, 0, &()));
            }
            if first.is_none() && state.cut_off {
                break;
            }
            let Some(mut chunk) = first.take().or_else(|| state.outbox.take()) else { break };
            state.writing = true;
            state.unsent = 0;
            let fds = chunk.fds();
            if fds > 0 && !state.window.admits(fds, self.child.stream()) {
                match self.refused(state, chunk) {
                    Some(again) => state = again,
                    None => return false,
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
                    None => return false,
                },
                Ok(all) => {
                    give_scratch(state.outbox.put_back(chunk));
                    state.blocked = !all;
                    if !all {
                        drop(state);
                        self.arm_write();
                        return true;
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
        let blocked = state.blocked;
        self.tell_room(state);
        blocked
    }
}
