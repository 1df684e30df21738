//! Whose something is, when the program may fork by itself: that of one process, who is
//! named on a page that forks share. A process that finds another there may put itself
//! in its place once that one has ended; but not a snapshot of the program, nor what is
//! forked from that.
//!
//! Processes are told apart by tokens: a pid is not the same in all namespaces, and comes
//! again. Each process that asks takes one for itself, on a page that the kernel wipes in
//! its forks.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::sys::living::Living;
use crate::sys::shared;

pub(crate) struct Owner {
    /// Token and pid.
    owner: &'static AtomicU64,
    /// How many tokens there are.
    tokens: &'static AtomicU64,
    /// That of this process, or 0. (Where the kernel does not wipe pages, its pid is.)
    own: Option<&'static AtomicU32>,
    living: Living,
    /// The last who has waited in vain, and for whom: it does not wait again.
    waited: AtomicU64,
    /// Who was the owner when this was made.
    first: u64,
    /// Never this process, nor any that is forked from it.
    renounced: AtomicBool,
}

fn pack(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn token_of(owner: u64) -> u32 {
    (owner >> 32) as u32
}

fn pid_of(owner: u64) -> i32 {
    owner as u32 as i32
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
        let [owner, tokens, namespace] = shared::shared_numbers()?;
        let own = shared::wiped_number().ok();
        let me = own_token(own, tokens);
        let first = pack(me, own_pid() as u32);
        owner.store(first, Ordering::Release);
        let living = Living::new(own_pid(), me, namespace);
        let (waited, renounced) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Owner { owner, tokens, own, living, waited, first, renounced })
    }

    /// Makes sure that this process is the owner; waits up to `patience`, but only once,
    /// for the end of another that is. That one's pid, where it was made the owner, is
    /// the error.
    pub(crate) fn claim(&self, patience: Duration) -> Result<Claim, i32> {
        let owner = self.owner.load(Ordering::Acquire);
        if self.renounced.load(Ordering::Relaxed) {
            return Err(pid_of(owner));
        }
        let me = own_token(self.own, self.tokens);
        if token_of(owner) == me {
            return Ok(Claim::Owned);
        }
        let both = pack(me, token_of(owner));
        let waited = self.waited.load(Ordering::Relaxed) == both;
        let patience = if waited { Duration::ZERO } else { patience };
        if !self.living.gone(token_of(owner), pid_of(owner), patience) {
            // Another thread of ours may just have taken over.
            if token_of(self.owner.load(Ordering::Acquire)) == me {
                return Ok(Claim::Owned);
            }
            if !patience.is_zero() {
                self.waited.store(both, Ordering::Relaxed);
            }
            return Err(pid_of(owner));
        }
        self.living.give_number();
        let new = pack(me, own_pid() as u32);
        match self.owner.compare_exchange(owner, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.living.become_own(me);
                Ok(Claim::TakenOver)
            }
            // Another thread of ours, or another fork of the same parent.
            Err(winner) if token_of(winner) == me => Ok(Claim::Owned),
            Err(winner) => Err(pid_of(winner)),
        }
    }

    /// Whether it has been taken over.
    pub(crate) fn has_changed(&self) -> bool {
        self.owner.load(Ordering::Acquire) != self.first
    }

    /// From now on neither this process nor what it forks becomes the owner.
    pub(crate) fn renounce(&self) {
        self.renounced.store(true, Ordering::Relaxed);
    }
}

/// The token of this process; a new one if it has none yet.
fn own_token(own: Option<&AtomicU32>, tokens: &AtomicU64) -> u32 {
    let Some(own) = own else { return own_pid() as u32 };
    match own.load(Ordering::Acquire) {
        0 => new_token(own, tokens),
        token => token,
    }
}

#[cold]
fn new_token(own: &AtomicU32, tokens: &AtomicU64) -> u32 {
    let new = (tokens.fetch_add(1, Ordering::AcqRel) + 1) as u32;
    match own.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        // Another thread was faster.
        Err(token) => token,
    }
}

pub(crate) fn own_pid() -> i32 {
    std::process::id() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pidfd;
    use std::process::{Command, Stdio};

    const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

    /// What ends only when it is killed.
    fn another() -> std::process::Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts")
    }

    fn owned_by(process: &std::process::Child) -> Owner {
        let mut owner = Owner::new().expect("there is memory");
        give(&mut owner, process);
        owner
    }

    /// As if this were a fork of that.
    fn give(owner: &mut Owner, process: &std::process::Child) {
        let token = (owner.tokens.fetch_add(1, Ordering::AcqRel) + 1) as u32;
        owner.owner.store(pack(token, process.id()), Ordering::Release);
        let namespace = &shared::shared_numbers().expect("there is memory")[2];
        owner.living = Living::new(process.id() as i32, token, namespace);
    }

    /// As if it had ended, and a new process had its number; or as if this were another
    /// namespace.
    fn give_number(owner: &Owner, number: u32) {
        let token = token_of(owner.owner.load(Ordering::Acquire));
        owner.owner.store(pack(token, number), Ordering::Release);
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
        // Not even one that was itself the owner: where the kernel does not wipe pages it is
        // told by its number, and numbers come again.
        let owner = Owner::new().expect("there is memory");
        owner.renounce();
        assert_eq!(owner.claim(Duration::ZERO), Err(own_pid()));
    }

    #[test]
    fn another_owner_is_waited_for_anew() {
        let (mut one, mut two) = (another(), another());
        let mut owner = owned_by(&one);
        assert_eq!(owner.claim(Duration::from_millis(1)), Err(one.id() as i32));
        give(&mut owner, &two);
        two.kill().expect("it runs");
        assert_eq!(owner.claim(FOR_EVER), Ok(Claim::TakenOver));
        two.wait().expect("it is our child");
        one.kill().expect("it runs");
        one.wait().expect("it is our child");
    }

    #[test]
    fn numbers_say_nothing() {
        if !pidfd::available() {
            println!("skipped: here there are only numbers");
            return;
        }
        let (mut one, mut two) = (another(), another());
        let owner = owned_by(&one);
        for number in [two.id(), std::process::id(), i32::MAX as u32] {
            give_number(&owner, number);
            assert_eq!(owner.claim(Duration::ZERO), Err(number as i32));
        }
        one.kill().expect("it runs");
        one.wait().expect("it is our child");
        give_number(&owner, two.id());
        assert_eq!(owner.claim(Duration::ZERO), Ok(Claim::TakenOver));
        two.kill().expect("it runs");
        two.wait().expect("it is our child");
    }

    #[test]
    fn one_who_was_faster_and_has_ended_is_followed() {
        let (mut one, mut two) = (another(), another());
        let owner = owned_by(&one);
        one.kill().expect("it runs");
        one.wait().expect("it is our child");
        // Another fork of `one`, of which this process has no descriptor.
        owner.living.give_number();
        owner.owner.store(pack(u32::MAX, two.id()), Ordering::Release);
        assert_eq!(owner.claim(Duration::ZERO), Err(two.id() as i32));
        two.kill().expect("it runs");
        assert_eq!(owner.claim(FOR_EVER), Ok(Claim::TakenOver));
        two.wait().expect("it is our child");
    }

    #[test]
    fn what_is_not_the_descriptor_any_more_is_not_asked() {
        if !pidfd::available() {
            println!("skipped: there are no descriptors of processes");
            return;
        }
        let mut one = another();
        let owner = owned_by(&one);
        one.kill().expect("it runs");
        one.wait().expect("it is our child");
        owner.living.replace(&std::fs::File::open("/dev/null").expect("it is there"));
        assert_eq!(owner.claim(FOR_EVER), Err(one.id() as i32));
    }

    #[test]
    fn without_descriptors_numbers_count_in_their_namespace() {
        let mut one = another();
        let mut owner = owned_by(&one);
        owner.living = Living::by_number(true);
        assert_eq!(owner.claim(Duration::ZERO), Err(one.id() as i32));
        one.kill().expect("it runs");
        one.wait().expect("it is our child");
        owner.living = Living::by_number(false);
        assert_eq!(owner.claim(Duration::ZERO), Err(one.id() as i32));
        owner.living = Living::by_number(true);
        assert_eq!(owner.claim(Duration::ZERO), Ok(Claim::TakenOver));
        assert_eq!(owner.claim(Duration::ZERO), Ok(Claim::Owned));
    }
}
