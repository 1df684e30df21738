//! How what is queued in a handle becomes a process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::home;
use crate::link::{Link, RequestError};
use crate::queue::Queue;
use crate::slot::{Asked, Loss, Slot};
use crate::sys::fdpass;
use crate::tether::Tether;
use crate::wire::{self, End, How};

/// More queued bytes than this are sent to a process once, rather than to each of its
/// forks.
const CLONED_AT_MOST: usize = 64 * 1024;

pub(crate) struct Inner {
    pub(crate) base: Base,
    pub(crate) queue: Queue,
    pub(crate) recipe: Recipe,
}

/// What a template was made of, so that it can be made again.
#[derive(Clone)]
pub(crate) enum Recipe {
    /// The program as it was started.
    Program,
    /// What cannot be had again.
    Lost,
    /// That, and what was queued then.
    With(Arc<(Recipe, Queue)>),
}

impl Recipe {
    /// Everything that was queued, in order.
    fn all(&self) -> Option<Result<Queue, Error>> {
        match self {
            Recipe::Program => Some(Ok(Queue::default())),
            Recipe::Lost => None,
            Recipe::With(both) => {
                let (before, queue) = &**both;
                Some(before.all()?.and_then(|all| all.with(queue)))
            }
        }
    }
}

/// What a process is forked from.
#[derive(Clone)]
pub(crate) enum Base {
    /// The template of this program, whichever that is by then.
    Default,
    Template(Arc<Tether>),
}

/// A process that has been asked for.
pub(crate) struct Sent {
    pub(crate) link: Arc<Link>,
    pub(crate) id: u64,
    pub(crate) slot: Arc<Slot>,
}

impl Inner {
    /// Whether what is queued should be sent once, rather than to each fork.
    pub(crate) fn is_worth_settling(&self) -> bool {
        self.queue.has_setup() || self.queue.len() > CLONED_AT_MOST
    }

    /// Makes the process itself, so that it can be forked. What is queued from now
    /// on does not change it, but comes before what its forks queue.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.queue.check()?;
        let (near, far) = with_room(fdpass::template_pair)?;
        let sent = self.send(&End::Serve, &far, self.queue.has_setup())?;
        let home = sent.link.home;
        let readiness = self.queue.has_setup().then_some((sent.link, sent.slot));
        let link = Link::new(home, near, None, readiness);
        self.base = Base::Template(Tether::new(link));
        let next = self.queue.next();
        let done = std::mem::replace(&mut self.queue, next);
        let before = std::mem::replace(&mut self.recipe, Recipe::Lost);
        self.recipe = Recipe::With(Arc::new((before, done)));
        Ok(())
    }

    /// The same again, from the program's own template; nothing has been sent yet. `None`
    /// if what it came from cannot be had again.
    pub(crate) fn again(&self) -> Option<Result<Inner, Error>> {
        let all = self.recipe.all()?.and_then(|all| all.with(&self.queue));
        Some(all.map(|queue| Inner { base: Base::Default, queue, recipe: Recipe::Program }))
    }

    /// Waits until its setup functions have run, if it has been made.
    pub(crate) fn wait_ready(&self) -> Result<(), Error> {
        match &self.base {
            Base::Default => Ok(()),
            Base::Template(tether) => tether.link().wait_ready(),
        }
    }

    /// `tell_ready`: somebody will wait until its steps are done. It waits for that one to read
    /// it.
    pub(crate) fn send(
        &self,
        end: &End<'_>,
        far: &OwnedFd,
        tell_ready: bool,
    ) -> Result<Sent, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let link = match &self.base {
                Base::Default => home::current()?.default_template()?,
                Base::Template(tether) => Arc::clone(tether.link()),
            };
            link.check_owner()?;
            link.wait_ready()?;
            let error = match self.send_to(&link, end, far, tell_ready) {
                Ok((id, slot)) => {
                    link.home.sweep_some();
                    return Ok(Sent { link, id, slot });
                }
                Err(error) => error,
            };
            match (error, &self.base) {
                // It was not taken, so a new template can have it.
                (RequestError::Lost(Loss::Gone), Base::Default) if tries < 3 => {}
                (RequestError::Io(e), _) if tries == 1 && ran_out(&e) => {
                    link.home.sweep_all();
                }
                (RequestError::Io(e), _) if e.raw_os_error() == Some(libc::EFBIG) => {
                    return Err(Kind::FileLimit(self.queue.len() + end.len()).into());
                }
                (error, _) => return Err(error.into_error("sending a process its commands")),
            }
        }
    }

    fn send_to(
        &self,
        link: &Link,
        end: &End<'_>,
        far: &OwnedFd,
        tell_ready: bool,
    ) -> Result<(u64, Arc<Slot>), RequestError> {
        let fds = self.queue.fds();
        link.request(Asked::Process, |socket, id| {
            let how = How { tell_ready, detached: self.queue.is_detached() };
            wire::send_fork(socket, id, self.queue.steps(), end, far.as_fd(), &fds, how)
        })
    }
}

fn ran_out(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ETOOMANYREFS))
}

/// Makes a pair of sockets; where there are no descriptors left, those of templates
/// that are gone by now are closed first.
pub(crate) fn with_room(
    pair: impl Fn() -> io::Result<(OwnedFd, OwnedFd)>,
) -> Result<(OwnedFd, OwnedFd), Error> {
    let made = match pair() {
        Err(e) if ran_out(&e) => {
            home::current()?.sweep_all();
            pair()
        }
        made => made,
    };
    made.map_err(Error::system("making a socket"))
}
