//! The one background thread, which exists from the first future or channel on: it
//! reads control sockets on which nobody waits in person.
//!
//! Its interest in a socket is spent by each event (EPOLLONESHOT). It is armed again
//! when the one who leads there leaves (`Link::arm`), and paused while somebody does.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::SigSet;

use crate::link::Link;

const EVENTS: usize = 64;

pub(crate) struct Hub {
    epoll: Epoll,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    known: BTreeMap<u64, Weak<Link>>,
    made: u64,
}

impl Hub {
    /// Starts the thread. It ends with the process; it keeps no link alive.
    pub(crate) fn start() -> io::Result<Arc<Hub>> {
        let hub = Arc::new(Hub { epoll: new_epoll()?, links: Mutex::default() });
        let run = {
            let hub = Arc::clone(&hub);
            move || {
                // Signals of the program are for its own threads.
                let _ = SigSet::all().thread_block();
                loop {
                    hub.turn();
                }
            }
        };
        thread::Builder::new().name("offshoot-hub".to_owned()).spawn(run)?;
        Ok(hub)
    }

    fn turn(&self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        // An interrupted wait is an empty one.
        let count = self.epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        for event in &events[..count] {
            let link = self.links().known.get(&event.data()).and_then(Weak::upgrade);
            if let Some(link) = link {
                link.hub_event();
            }
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Makes a link known, unarmed, unless it is: several threads may watch it first.
    pub(crate) fn add(&self, link: &Arc<Link>) -> io::Result<()> {
        let mut links = self.links();
        if link.hub_key().is_some() {
            return Ok(());
        }
        links.known.retain(|_, l| l.strong_count() > 0);
        let key = NonZeroU64::MIN.saturating_add(links.made);
        self.epoll.add(link.socket(), EpollEvent::new(EpollFlags::EPOLLONESHOT, key.get()))?;
        links.made += 1;
        links.known.insert(key.get(), Arc::downgrade(link));
        link.set_hub_key(key);
        Ok(())
    }

    pub(crate) fn arm(&self, link: &Link) {
        self.modify(link, EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT);
    }

    pub(crate) fn pause(&self, link: &Link) {
        self.modify(link, EpollFlags::EPOLLONESHOT);
    }

    fn modify(&self, link: &Link, flags: EpollFlags) {
        if let Some(key) = link.hub_key() {
            // It cannot fail for a descriptor that is in the set and open.
            let _ = self.epoll.modify(link.socket(), &mut EpollEvent::new(flags, key.get()));
        }
    }
}

fn new_epoll() -> io::Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    Ok(Epoll(crate::sys::fds::above_stdio(epoll.0)?))
}
