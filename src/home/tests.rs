//! Taking over, from within.

use super::*;
use crate::sys::fdpass;

fn link(home: &'static Home) -> Arc<Link> {
    Link::new(home, fdpass::control_pair().unwrap().0, None, None)
}

#[test]
fn whoever_finds_itself_the_owner_has_what_it_owns_taken_over() {
    let home = Home::new(None).unwrap();
    let link = link(home);
    let set = |key| link.hub_key().store(key, Ordering::Release);
    let key = || link.hub_key().load(Ordering::Acquire);
    // As in a process in which one thread has put the pid in place, and done nothing else.
    home.mark.forget();
    assert_eq!(home.owner.claim(Duration::ZERO), Ok(crate::owner::Claim::Owned));
    set(7);
    home.claim(Duration::ZERO).unwrap();
    assert_eq!(key(), 0, "that is the key of another process's hub");
    // Once: what is there now is this process's own.
    set(8);
    home.take_over().unwrap();
    home.claim(Duration::ZERO).unwrap();
    assert_eq!(key(), 8);
}

/// As in a fork that was made while a thread that is not there had the lock.
fn refused_while<T>(home: &'static Home, lock: T) {
    home.mark.forget();
    assert!(!home.is_ours());
    let error = home.claim_patiently().unwrap_err();
    assert!(error.is_not_owner(), "{error:?}");
    drop(lock);
    home.claim_patiently().expect("all is free again");
}

#[test]
fn nobody_takes_over_what_a_thread_that_is_not_here_has_locked() {
    let home = Home::new(None).unwrap();
    let link = link(home);
    refused_while(home, lock(&home.default));
    refused_while(home, lock(&home.parked));
    refused_while(home, lock(&home.hub));
    refused_while(home, lock(&home.links));
    refused_while(home, link.held());
}
