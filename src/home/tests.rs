//! Taking over, from within.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use super::*;
use crate::left;
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

#[test]
fn a_thread_that_takes_long_to_take_over_is_waited_for_by_the_others() {
    let home = Home::new(None).unwrap();
    home.mark.forget();
    let taking = home.left.take();
    let (tell, told) = channel();
    thread::scope(|s| {
        s.spawn(move || tell.send(home.claim_patiently()));
        let (longer, soon) = (left::PATIENCE + Duration::from_millis(250), Duration::from_secs(30));
        let error = told.recv_timeout(longer).unwrap_err();
        assert_eq!(error, RecvTimeoutError::Timeout, "it does not give up either");
        home.mark.renew();
        drop(taking);
        told.recv_timeout(soon).unwrap().expect("it has been taken over");
    });
}

/// What epoll does not take: a file.
struct Unwatchable(File, AtomicU64);

impl Watched for Unwatchable {
    fn socket(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn hub_key(&self) -> &AtomicU64 {
        &self.1
    }

    fn hub_event(self: Arc<Unwatchable>) {
        unreachable!("it is not watched");
    }
}

#[test]
fn what_cannot_be_watched_is_an_error_and_others_can() {
    let home = Home::new(None).unwrap();
    let file = tempfile::tempfile().unwrap();
    let odd = Arc::new(Unwatchable(file, AtomicU64::new(0)));
    let watched: Arc<dyn Watched> = Arc::clone(&odd) as _;
    for _ in 0..2 {
        let error = home.hub_add(&watched).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
        assert!(error.to_string().contains("watching a socket"), "{error}");
        assert_eq!(odd.hub_key().load(Ordering::Acquire), 0);
    }
    let link = link(home);
    link.watch().unwrap();
    assert_ne!(link.hub_key().load(Ordering::Acquire), 0);
}
