//! What this library keeps for one process: its default template, its retired
//! templates, its hub, and the claim on all of them.
//!
//! A program may fork by itself. Then either the child is a daemon and its parent
//! exits at once: the child takes everything over. Or both live on: then what the
//! parent has made is the parent's, and the child begins anew, by the re-exec road.
//! Who is who is told by an [`Owner`]. A snapshot, and all that is forked from it, begins
//! anew as well, and takes nothing over, whoever exits.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::hook;
use crate::hub::{Hub, Interest, Watched};
use crate::left::Left;
use crate::link::Link;
use crate::owner::Owner;
use crate::sys::forked::Birthmark;
use crate::wire;

#[cfg(test)]
mod tests;

/// How long a process waits for the end of the one it was forked from, when it is
/// given a handle of that one: a program that becomes a daemon exits at once, but that takes
/// its time where others have the CPU.
const PATIENCE: Duration = Duration::from_secs(1);
/// Retired templates looked at with each new process, and each that is retired.
const SWEEP: usize = 4;

pub(crate) struct Home {
    owner: &'static Owner,
    /// Of the process whose threads lead and wait on the links.
    mark: Birthmark,
    default: Mutex<Option<Arc<Link>>>,
    /// The first default template is the one forked before main. It is taken by the first who
    /// needs it: of several threads that are the first here, one's home is kept.
    early: bool,
    parked: Mutex<VecDeque<Parked>>,
    links: Mutex<Vec<Weak<Link>>>,
    hub: Mutex<Option<(Birthmark, Arc<Hub>)>>,
    left: Left,
    /// That of the process that this one was forked from.
    before: Option<&'static Home>,
}

struct Parked {
    link: Arc<Link>,
    /// The Retire itself could not be sent yet.
    owed: bool,
}

static CURRENT: AtomicPtr<Home> = AtomicPtr::new(std::ptr::null_mut());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// The home of this process.
pub(crate) fn current() -> Result<&'static Home, Error> {
    let known = CURRENT.load(Ordering::Acquire);
    let before = crate::sys::shared::leaked(known);
    if let Some(home) = before
        && home.claim(Duration::ZERO).is_ok()
    {
        return Ok(home);
    }
    let home = Home::new(before)?;
    let new = std::ptr::from_ref(home).cast_mut();
    match CURRENT.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(home),
        Err(other) => Ok(crate::sys::shared::leaked(other).expect("it was just put there")),
    }
}

impl Home {
    /// Leaked, because a process keeps it until its end; one for each process in
    /// which the library is used.
    fn new(before: Option<&'static Home>) -> Result<&'static Home, Error> {
        let early = hook::early_owner();
        let owner = match early {
            Some(owner) => owner,
            None => Box::leak(Box::new(Owner::new().map_err(Error::system("mapping a page"))?)),
        };
        Ok(Box::leak(Box::new(Home {
            owner,
            mark: Birthmark::new(),
            default: Mutex::new(None),
            early: early.is_some(),
            parked: Mutex::default(),
            links: Mutex::default(),
            hub: Mutex::new(None),
            left: Left::default(),
            before,
        })))
    }

    /// Makes sure that this process owns what is here; see `Owner::claim`.
    fn claim(&self, patience: Duration) -> Result<(), Error> {
        self.owner.claim(patience).map_err(|owner| Error::from(Kind::NotOwner(owner)))?;
        if self.mark.is_here() { Ok(()) } else { self.take_over() }
    }

    /// The first thread that finds itself in the owner forgets what threads of the old one were
    /// about; any other waits for that here, though the owner is told already by its pid.
    fn take_over(&self) -> Result<(), Error> {
        let taking = self.left.take();
        if self.mark.is_here() {
            return Ok(());
        }
        drop(self.left.lock(&self.default)?);
        drop(self.left.lock(&self.parked)?);
        drop(self.left.lock(&self.hub)?);
        let links = self.left.lock(&self.links)?;
        let all: Vec<_> = links.iter().filter_map(Weak::upgrade).collect();
        let adopted = all.iter().try_for_each(|link| link.adopt(&self.left));
        if adopted.is_ok() {
            self.mark.renew();
        }
        // Before any of them goes, with what is its own.
        drop((links, taking));
        adopted
    }

    /// Whether this process owns what is here, or can from now on.
    pub(crate) fn is_ours(&self) -> bool {
        self.claim(Duration::ZERO).is_ok()
    }

    pub(crate) fn claim_patiently(&self) -> Result<(), Error> {
        self.claim(PATIENCE)
    }

    pub(crate) fn remember(&self, link: &Arc<Link>) {
        let mut links = lock(&self.links);
        if links.len() == links.capacity() {
            links.retain(|l| l.strong_count() > 0);
        }
        links.push(Arc::downgrade(link));
    }

    /// The template that `Process::new` forks from: the early one, or one that is
    /// re-executed when it is first needed, or when the one before has died.
    pub(crate) fn default_template(&'static self) -> Result<Arc<Link>, Error> {
        let mut default = lock(&self.default);
        if self.early && default.is_none() {
            *default = hook::take_early().map(|socket| Link::new(self, socket, None, None));
            if let Some(link) = default.as_ref().filter(|_| self.owner.has_changed()) {
                link.adopt(&self.left)?;
            }
        }
        if let Some(link) = default.as_ref().filter(|l| !l.is_gone()) {
            return Ok(Arc::clone(link));
        }
        let link = self.reexecuted()?;
        if let Some(dead) = default.replace(Arc::clone(&link)) {
            dead.reap();
        }
        Ok(link)
    }

    /// Whether processes come from a template that was forked before main.
    pub(crate) fn has_early(&self) -> bool {
        let alive = |link: &Arc<Link>| link.child().is_none() && !link.is_gone();
        self.early && lock(&self.default).as_ref().map_or_else(hook::early_waits, alive)
    }

    /// A new template, made by executing the program's own file once more.
    pub(crate) fn reexecuted(&'static self) -> Result<Arc<Link>, Error> {
        let (near, far) = crate::sys::fdpass::template_pair()
            .map_err(Error::system("making a control socket"))?;
        let pid = hook::reexecute(&far)?;
        Ok(Link::new(self, near, Some(pid), None))
    }

    /// Tells a template that nothing more will be asked of it, and keeps its socket
    /// until it closes it: closing ours would end its children.
    pub(crate) fn retire(&self, link: Arc<Link>) {
        // Not waited for: in a fork of the program whose parent lives on, a handle that
        // goes says nothing to the parent's template.
        if self.claim(Duration::ZERO).is_err() {
            return;
        }
        let owed = owes_retire(&link);
        lock(&self.parked).push_back(Parked { link, owed });
        self.sweep_some();
    }

    /// Lets go of retired templates that have gone, looking at a few of them.
    pub(crate) fn sweep_some(&self) {
        self.sweep(SWEEP);
    }

    fn sweep(&self, most: usize) {
        for _ in 0..most {
            // Not kept locked meanwhile: a waker that runs in `drain` may come here.
            let Some(mut parked) = lock(&self.parked).pop_front() else { return };
            if parked.owed {
                parked.owed = owes_retire(&parked.link);
            }
            if parked.link.drain() {
                parked.link.reap();
            } else {
                lock(&self.parked).push_back(parked);
            }
        }
    }

    /// After something ran out: looks at all retired templates once.
    pub(crate) fn sweep_all(&self) {
        let all = lock(&self.parked).len();
        self.sweep(all);
    }

    pub(crate) fn hub(&self) -> Result<Arc<Hub>, Error> {
        let mut hub = lock(&self.hub);
        match &*hub {
            // A fork has the memory of the thread, but not the thread.
            Some((mark, hub)) if mark.is_here() => Ok(Arc::clone(hub)),
            _ => {
                let new = Hub::start().map_err(Error::system("starting the hub thread"))?;
                *hub = Some((Birthmark::new(), Arc::clone(&new)));
                Ok(new)
            }
        }
    }

    fn hub_if_any(&self) -> Option<Arc<Hub>> {
        lock(&self.hub).as_ref().map(|(_, hub)| Arc::clone(hub))
    }

    pub(crate) fn hub_add(&self, watched: &Arc<dyn Watched>) -> Result<(), Error> {
        self.hub()?.add(watched).map_err(Error::system("watching a socket"))
    }

    pub(crate) fn hub_set(&self, watched: &dyn Watched, interest: Interest) {
        if let Some(hub) = self.hub_if_any() {
            hub.set(watched, interest);
        }
    }
}

/// Sends a Retire without waiting; whether it is still to be sent.
fn owes_retire(link: &Link) -> bool {
    let sent = wire::send_retire(link.socket());
    matches!(sent, Err(e) if !crate::sys::fdpass::is_end(&e))
}

/// In a snapshot: gives up what the processes that it was forked from have made, for good
/// and for all of its forks. These are the sockets that it must not hold: with a copy left
/// in it, no template would ever see the end of the process that it belongs to.
pub(crate) fn renounce() -> Vec<RawFd> {
    let newest = CURRENT.swap(std::ptr::null_mut(), Ordering::AcqRel);
    let homes = std::iter::successors(crate::sys::shared::leaked(newest), |home| home.before);
    homes
        .flat_map(|home| {
            home.owner.renounce();
            let links = lock(&home.links);
            links
                .iter()
                .filter_map(Weak::upgrade)
                .map(|l| l.socket().as_raw_fd())
                .collect::<Vec<_>>()
        })
        .collect()
}
