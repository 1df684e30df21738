//! Where processes come from.

use std::os::fd::OwnedFd;
use std::sync::Mutex;

use super::Process;
use crate::error::{Error, Kind};
use crate::link::Link;
use crate::make::{Base, Inner, Recipe};
use crate::queue::Queue;
use crate::sys::fork::{self, Forked};
use crate::sys::{fdpass, fds};
use crate::tether::Tether;
use crate::{home, hook};

impl Process {
    /// A new, empty process from the early template.
    ///
    /// Without one (no opt-in, or it has died) the program's own file is executed
    /// once, to be the template from then on: about a millisecond, the first time.
    /// Neither happens in this call.
    ///
    /// (`AnyEvent::Fork->new`.)
    ///
    /// # Errors
    /// [`is_unsupported`](Error::is_unsupported) in a shared library. (So is running or
    /// forking it where there is no early template and the program is set-user-ID.)
    pub fn new() -> Result<Process, Error> {
        hook::check_usable()?;
        Ok(Process::from_base(Base::Default, Recipe::Program))
    }

    /// A new, empty process with a template of its own: the program's own file is
    /// executed for it, now. With an early template it is forked from that instead,
    /// as there is nothing to gain.
    ///
    /// (`AnyEvent::Fork->new_exec`.)
    ///
    /// # Errors
    /// As [`new`](Process::new); and the system's, if the file cannot be executed.
    pub fn new_exec() -> Result<Process, Error> {
        hook::check_usable()?;
        let home = home::current()?;
        if home.has_early() {
            return Process::new();
        }
        let template = Base::Template(Tether::new(home.reexecuted()?));
        Ok(Process::from_base(template, Recipe::Program))
    }

    /// Forks the program as it is now, to be a template: with everything that it has
    /// loaded and opened. For programs that prepare themselves and then create their
    /// workers, before the first thread.
    ///
    /// The copy has all files that the program has open, because its memory refers
    /// to them; of this library's own sockets it keeps none, and the program's handles are dead
    /// in it and in its forks: [`is_not_owner`](Error::is_not_owner).
    ///
    /// (`AnyEvent::Fork::Template`.)
    ///
    /// # Errors
    /// [`is_threaded`](Error::is_threaded) if this process has more than one thread,
    /// and the system's, if it cannot be forked.
    pub fn snapshot() -> Result<Process, Error> {
        hook::check_usable()?;
        let home = home::current()?;
        match fork::threads() {
            1 => {}
            n => return Err(Kind::Threaded(n).into()),
        }
        let (near, far) =
            fdpass::template_pair().map_err(Error::system("making a control socket"))?;
        let owner = std::process::id();
        fork::flush_stdio();
        match fork::fork_orphan().map_err(Error::system("forking the program"))? {
            Forked::Child => {
                drop(near);
                hook::serve_snapshot(far, owner)
            }
            Forked::Parent(_) => {
                let link = Link::new(home, near, None, None);
                Ok(Process::from_base(Base::Template(Tether::new(link)), Recipe::Lost))
            }
        }
    }

    /// A handle of the process whose control socket [`into_fd`](Process::into_fd)
    /// has given out. "The child process itself will not change in any way."
    ///
    /// (`new_from_fh AnyEvent::Fork`.)
    ///
    /// # Errors
    /// [`is_protocol`](Error::is_protocol) if the descriptor is no such socket.
    pub fn from_fd(fd: OwnedFd) -> Result<Process, Error> {
        let home = home::current()?;
        if fdpass::control_peer(&fd).is_err() {
            return Err(Kind::Protocol("the descriptor is not a control socket").into());
        }
        let fd = fds::above_stdio(fd)
            .and_then(|fd| fds::set_close_on_exec(&fd).map(|()| fd))
            .map_err(Error::system("taking a control socket over"))?;
        let link = Link::new(home, fd, None, None);
        Ok(Process::from_base(Base::Template(Tether::new(link)), Recipe::Lost))
    }

    fn from_base(base: Base, recipe: Recipe) -> Process {
        Process { inner: Mutex::new(Inner { base, queue: Queue::default(), recipe }) }
    }
}
