//! What is queued in a handle until its process is forked.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::sys::fds;
use crate::wire::{Bytes, MAX_BODY, MAX_QUEUED_FDS, Step};

/// Steps in the form in which they are sent, and the descriptors that go with them.
#[derive(Default)]
pub(crate) struct Queue {
    steps: Vec<u8>,
    fds: Vec<Arc<OwnedFd>>,
    /// Descriptors that wait in the template already, for all its forks.
    before: usize,
    setup: bool,
    config: bool,
    /// And before any setup function, which may never end.
    detached: bool,
    error: Option<Arc<dyn Fn() -> Error + Send + Sync>>,
}

impl Queue {
    /// What comes after `self`, once that was sent to a template.
    pub(crate) fn next(&self) -> Queue {
        Queue { before: self.before + self.fds.len(), ..Queue::default() }
    }

    pub(crate) fn arg(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            Step::Arg(Bytes::Borrowed(bytes)).encode(&mut self.steps);
            self.check_size();
        }
    }

    pub(crate) fn setup(&mut self, name: &'static str, args: Vec<Vec<u8>>) {
        self.setup = true;
        let args = args.into_iter().map(Bytes::Owned).collect();
        self.push(&Step::Setup { name: name.into(), args });
    }

    pub(crate) fn config(&mut self, step: &Step<'_>) {
        self.config = true;
        self.detached |= matches!(step, Step::DeathSignal(0)) && !self.setup;
        self.push(step);
    }

    fn push(&mut self, step: &Step<'_>) {
        if self.error.is_none() {
            step.encode(&mut self.steps);
            self.check_size();
        }
    }

    pub(crate) fn fd(&mut self, fd: BorrowedFd<'_>, step: &Step<'_>, config: bool) {
        self.config |= config;
        if self.error.is_some() {
            return;
        }
        match fds::above(fd, 3) {
            Ok(copy) => {
                self.fds.push(Arc::new(copy));
                self.push(step);
            }
            Err(e) => {
                let errno = e.raw_os_error().unwrap_or(libc::EBADF);
                self.fail(move || {
                    let source = std::io::Error::from_raw_os_error(errno);
                    Kind::System { what: "copying a descriptor that was to be sent", source }
                });
            }
        }
        let count = self.before + self.fds.len();
        if count > MAX_QUEUED_FDS {
            self.fail(move || Kind::TooManyFds { count, max: MAX_QUEUED_FDS });
        }
    }

    /// Keeps the first error, for the run.
    pub(crate) fn fail(&mut self, kind: impl Fn() -> Kind + Send + Sync + 'static) {
        self.error.get_or_insert_with(|| Arc::new(move || kind().into()));
    }

    fn check_size(&mut self) {
        let size = self.steps.len() as u64;
        // Room for the end and the names in it.
        if size > MAX_BODY - (1 << 20) {
            self.steps = Vec::new();
            self.fail(move || Kind::TooLarge { size, max: MAX_BODY - (1 << 20) });
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.error.as_ref().map_or(Ok(()), |error| Err(error()))
    }

    /// A copy for a fork; descriptors are shared until they are sent.
    pub(crate) fn clone(&self) -> Result<Queue, Error> {
        self.check()?;
        Ok(Queue {
            steps: self.steps.clone(),
            fds: self.fds.clone(),
            before: self.before,
            setup: self.setup,
            config: self.config,
            detached: self.detached,
            error: None,
        })
    }

    /// A copy of this one, and what `later` has.
    pub(crate) fn with(&self, later: &Queue) -> Result<Queue, Error> {
        later.check()?;
        let mut both = self.clone()?;
        both.steps.extend_from_slice(&later.steps);
        both.fds.extend(later.fds.iter().cloned());
        both.detached |= later.detached && !both.setup;
        both.setup |= later.setup;
        both.config |= later.config;
        both.check_size();
        both.check().map(|()| both)
    }

    pub(crate) fn steps(&self) -> &[u8] {
        &self.steps
    }

    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.fds.iter().map(|fd| fd.as_fd()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.detached
    }

    pub(crate) fn has_setup(&self) -> bool {
        self.setup
    }

    /// Nothing but strings and descriptors.
    pub(crate) fn is_plain(&self) -> bool {
        !self.setup && !self.config
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, fds) = (self.steps.len(), self.fds.len());
        f.debug_struct("Queue").field("bytes", &bytes).field("fds", &fds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_detached_from_its_beginning_unless_a_setup_function_is_to_run_before() {
        let detach = |queue: &mut Queue| queue.config(&Step::DeathSignal(0));
        let mut queue = Queue::default();
        queue.config(&Step::DeathSignal(9));
        assert!(!queue.is_detached());
        detach(&mut queue);
        queue.setup("touch", Vec::new());
        assert!(queue.is_detached() && queue.clone().unwrap().is_detached());
        // What it is forked from is, so that it need not.
        assert!(!queue.next().is_detached());
        let mut after = Queue::default();
        after.setup("touch", Vec::new());
        detach(&mut after);
        assert!(!after.is_detached());
        let with = |first: &Queue, second: &Queue| first.with(second).unwrap().is_detached();
        assert!(with(&Queue::default(), &queue) && with(&queue, &after));
        assert!(!with(&after, &queue) && !with(&Queue::default(), &after));
    }

    #[test]
    fn more_than_one_process_can_be_sent_is_an_error() {
        let most = (MAX_BODY - (1 << 20)) as usize;
        if Vec::<u8>::new().try_reserve_exact(most + 64).is_err() {
            return println!("skipped: no address space for so much");
        }
        // Never touched, so it takes no memory.
        let mut steps = vec![0; most + 64];
        steps.truncate(most - 64);
        let mut queue = Queue { steps, ..Queue::default() };
        queue.arg(b"x");
        queue.check().unwrap();
        queue.arg(&[b'x'; 64]);
        let error = queue.check().unwrap_err();
        assert!(error.is_resource(), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("are more than the {most}")), "{text}");
        // Nothing is kept of it, nor is more taken, and a fork cannot be made of it.
        assert_eq!(queue.steps().len(), 0);
        queue.arg(b"x");
        queue.config(&Step::EnvClear);
        assert_eq!(queue.steps().len(), 0);
        assert_eq!(queue.clone().unwrap_err().to_string(), text);
        assert_eq!(Queue::default().with(&queue).unwrap_err().to_string(), text);
    }
}
