//! Whose something is, when the program may fork by itself: that of one process, whose
//! pid is on a page that forks share. A process that finds another pid there may put its
//! own in its place once that process has ended; but not a snapshot of the program, nor
//! what is forked from that.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use crate::sys::{pidfd, shared};

pub(crate) struct Owner {
    pid: &'static AtomicI32,
    /// The last who has waited in vain, and for whom: it does not wait again.
    waited: AtomicU64,
    /// Never this process, nor any that is forked from it.
    renounced: AtomicBool,
}

/// How something comes to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Owned,
    /// By this call: what the old owner was doing is to be taken over.
    TakenOver,
}

impl Owner {
    /// This process.
    pub(crate) fn new() -> io::Result<Owner> {
        let pid = shared::shared_number()?;
        pid.store(own_pid(), Ordering::Release);
        Ok(Owner { pid, waited: AtomicU64::new(0), renounced: AtomicBool::new(false) })
    }

    /// Makes sure that this process is the owner; waits up to `patience`, but only once,
    /// for the end of another that is. That one's pid is the error.
    pub(crate) fn claim(&self, patience: Duration) -> Result<Claim, i32> {
        let me = own_pid();
        let owner = self.pid.load(Ordering::Acquire);
        // Even if it has the number that the owner had: that one may be long gone.
        if self.renounced.load(Ordering::Relaxed) {
            return Err(owner);
        }
        if owner == me {
            return Ok(Claim::Owned);
        }
        let both = u64::from(me as u32) << 32 | u64::from(owner as u32);
        let waited = self.waited.load(Ordering::Relaxed) == both;
        if !pidfd::gone(owner, if waited { Duration::ZERO } else { patience }) {
            if !patience.is_zero() {
                self.waited.store(both, Ordering::Relaxed);
            }
            return Err(owner);
        }
        match self.pid.compare_exchange(owner, me, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(Claim::TakenOver),
            // Another thread of ours, or another fork of the same parent.
            Err(winner) if winner == me => Ok(Claim::Owned),
            Err(winner) => Err(winner),
        }
    }

    /// From now on neither this process nor what it forks becomes the owner.
    pub(crate) fn renounce(&self) {
        self.renounced.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn own_pid() -> i32 {
    std::process::id() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

    /// What ends only when it is killed.
    fn another() -> std::process::Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts")
    }

    fn owned_by(process: &std::process::Child) -> Owner {
        let owner = Owner::new().expect("there is memory");
        owner.pid.store(process.id() as i32, Ordering::Release);
        owner
    }

    #[test]
    fn who_has_waited_in_vain_does_not_wait_again_for_the_same() {
        let mut one = another();
        let owner = owned_by(&one);
        let refused = Err(one.id() as i32);
        // That it was not waited for says nothing about the next time.
        assert_eq!(owner.claim(Duration::ZERO), refused);
        assert_eq!(owner.waited.load(Ordering::Relaxed), 0);
        assert_eq!(owner.claim(Duration::from_millis(1)), refused);
        assert_eq!(owner.claim(FOR_EVER), refused);
        one.kill().expect("it runs");
        one.wait().expect("it is our child");
        assert_eq!(owner.claim(Duration::ZERO), Ok(Claim::TakenOver));
        assert_eq!(owner.claim(Duration::ZERO), Ok(Claim::Owned));
    }

    #[test]
    fn who_has_renounced_never_becomes_the_owner() {
        let mut one = another();
        let owner = owned_by(&one);
        owner.renounce();
        // It is not waited for either.
        assert_eq!(owner.claim(FOR_EVER), Err(one.id() as i32));
        one.kill().expect("it runs");
        one.wait().expect("it is our child");
        assert_eq!(owner.claim(Duration::ZERO), Err(one.id() as i32));
        // Numbers come again.
        owner.pid.store(own_pid(), Ordering::Release);
        assert_eq!(owner.claim(Duration::ZERO), Err(own_pid()));
    }

    #[test]
    fn another_owner_is_waited_for_anew() {
        let (mut one, mut two) = (another(), another());
        let owner = owned_by(&one);
        assert_eq!(owner.claim(Duration::from_millis(1)), Err(one.id() as i32));
        owner.pid.store(two.id() as i32, Ordering::Release);
        two.kill().expect("it runs");
        assert_eq!(owner.claim(FOR_EVER), Ok(Claim::TakenOver));
        two.wait().expect("it is our child");
        one.kill().expect("it runs");
        one.wait().expect("it is our child");
    }
}
