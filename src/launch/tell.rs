//! What a new process tells the parent itself, over the socket of the template.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::fork::exit_now;
use crate::template::outbox::{Sent, longer};
use crate::wire::Reply;

/// Sends a reply. A parent that does not read delays this process alone, until it does read
/// or has ended: what was given up here would be waited for in vain there.
pub(super) fn tell(control: &OwnedFd, id: u64, reply: &Reply) {
    let datagram = reply.encode(id);
    let mut again_in = 0;
    loop {
        // Interrupted, or out of memory: the reply is tried again in any case.
        let _ = match Sent::try_send(control, &datagram) {
            Sent::Done => return,
            Sent::Full => {
                let mut room = [PollFd::new(control.as_fd(), PollFlags::POLLOUT)];
                poll(&mut room, PollTimeout::NONE)
            }
            Sent::NotNow => {
                again_in = longer(again_in);
                poll(&mut [], again_in)
            }
            // A setup function has forbidden it, say. The template will tell of this end.
            Sent::Refused => exit_now(1),
        };
    }
}
