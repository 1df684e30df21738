//! Sending what is queued.

use std::os::fd::AsRawFd;
use std::sync::MutexGuard;

use nix::sys::socket::{Shutdown, shutdown};

use super::super::frame::{Frame, Kind, give_scratch};
use super::super::refusal::Refusal;
use super::refused::Later;
use super::{Conn, State};
use crate::error::Fault;
use crate::sys::fdpass;

impl Conn {
    /// Sends what is queued, as far as there is room, unless somebody is sending.
    pub(crate) fn flush(&self) {
        self.flush_with(self.state());
    }

    /// The same, for one who has the state already. Whether the socket has no room.
    pub(super) fn flush_with<'a>(&'a self, state: MutexGuard<'a, State>) -> bool {
        if state.writing
            || state.held
            || (state.outbox.is_empty() && (!state.finishing || state.told_finish))
        {
            // One who writes looks again before he stops.
            return state.blocked;
        }
        self.send(state)
    }

    /// Sends a frame that [may pass](super::super::outbox::Outbox::can_pass), and has been
    /// told to: nobody else is sending.
    pub(super) fn send_passing(&self, mut state: MutexGuard<'_, State>, frame: Frame) {
        state.begin_to_write();
        drop(state);
        let done = fdpass::send_bytes(self.child.stream(), &frame.bytes, false);
        let mut state = self.state();
        state.writing = false;
        let written = done.unwrap_or(0);
        if written < frame.bytes.len() {
            // Whatever the matter is, it is found again.
            state.outbox.put_back_passed(frame, written);
            self.send(state);
            return;
        }
        if !state.outbox.is_empty() || state.finishing {
            self.send(state);
        } else {
            drop(state);
        }
        give_scratch(frame.bytes);
    }

    /// Sends what is queued. Nobody else is sending. Whether the socket has no room.
    fn send<'a>(&'a self, mut state: MutexGuard<'a, State>) -> bool {
        loop {
            if state.finishing && !state.told_finish && !state.cut_off {
                // Not the end of the stream: calls that are open can still be cancelled.
                state.told_finish = true;
                state.outbox.push(Frame::plain(Kind::Finish, 0, &()));
            }
            if state.cut_off {
                break;
            }
            let Some(mut chunk) = state.outbox.take() else { break };
            state.begin_to_write();
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
                Err(error) if Refusal::is_shortage(&error) => match self.try_later(state, chunk) {
                    Later::ByTheHub => return false,
                    Later::Here(pause, now) => state = self.pause(now, pause),
                    Later::Never(now) => {
                        state = now;
                        self.cut_off(&mut state);
                    }
                },
                Err(error) if fds > 0 && Refusal::is_for_ever(&error) => {
                    state.outbox.put_back(chunk);
                    let why = format!("a descriptor among them cannot be passed: {error}");
                    let fault = Fault::Codec { what: "the arguments", why: why.into() };
                    state = self.give_refused_up(state, fault);
                }
                Ok(all) => {
                    state.refusal = None;
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
                    self.cut_off(&mut state);
                }
            }
        }
        let blocked = state.blocked;
        self.tell_room(state);
        blocked
    }

    fn cut_off(&self, state: &mut State) {
        state.cut_off = true;
        state.blocked = false;
        state.refusal = None;
        let _ = shutdown(self.child.stream().as_raw_fd(), Shutdown::Write);
    }
}
