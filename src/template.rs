//! The serving loop: what a process does while it waits to be forked.
//!
//! It forks in one place. The child goes on in the same loop if it is to serve,
//! and never comes back if it is to run (`launch.rs`). No user code runs in here,
//! and nothing in here waits for the parent: replies that do not fit the socket
//! stay in `outbox`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use crate::launch;
use crate::start::Queued;
use crate::sys::fdpass::{self, Received, Sender};
use crate::sys::fork::{self, Forked, exit_now};
use crate::sys::ids::Ids;
use crate::sys::{pidfd, signal, title, wait};
use crate::wire::{self, Failure, MAX_DATAGRAM, Reply, Request, Stage};

pub(crate) struct Template {
    /// There until an entry takes the process over.
    pub(crate) control: Option<OwnedFd>,
    pub(crate) pid: i32,
    pub(crate) ids: Ids,
    /// Sent to this process; cloned into each fork.
    pub(crate) queued: Queued,
    /// Entries that may run with our own privileges whoever asks (rule 12).
    pub(crate) privileged: Vec<String>,
    /// A setup function has run in this process, or in one that it was forked from.
    pub(crate) user_code: bool,
    pub(crate) huge_pages: bool,
    /// The program that all of this belongs to, as titles show it.
    pub(crate) owner: String,
    // No HashMap: its keys, once made, would be the same in all forks.
    children: BTreeMap<i32, u64>,
    outbox: VecDeque<Vec<u8>>,
    retired: bool,
    buffer: Box<[u8; MAX_DATAGRAM]>,
}

impl Template {
    pub(crate) fn new(control: OwnedFd, owner: String) -> Template {
        Template {
            control: Some(control),
            pid: std::process::id() as i32,
            ids: Ids::own(),
            queued: Queued::default(),
            privileged: Vec::new(),
            user_code: false,
            huge_pages: std::env::var_os("OFFSHOOT_HUGE_PAGES").is_none_or(|v| v != "0"),
            owner,
            children: BTreeMap::new(),
            outbox: VecDeque::new(),
            retired: false,
            buffer: Box::new([0; MAX_DATAGRAM]),
        }
    }

    /// Serves until the parent is gone, or has retired this template and its last
    /// child has ended.
    pub(crate) fn serve(mut self) -> ! {
        fork::flush_stdio();
        title::prepare();
        self.show_title();
        signal::begin_serving();
        loop {
            self.reap();
            self.deliver();
            if self.retired && self.children.is_empty() && self.outbox.is_empty() {
                exit_now(0);
            }
            match self.receive() {
                Ok(Some(datagram)) => self.handle(datagram),
                Ok(None) => exit_now(0),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    signal::pause(self.control(), !self.outbox.is_empty());
                }
                Err(_) => exit_now(1),
            }
        }
    }

    fn receive(&mut self) -> io::Result<Option<Received>> {
        let control = self.control.as_ref().expect("as in `control`");
        fdpass::receive(control, &mut self.buffer[..], false)
    }

    pub(crate) fn control(&self) -> &OwnedFd {
        self.control.as_ref().expect("only an entry that has taken over is without")
    }

    pub(crate) fn show_title(&self) {
        let owner = &self.owner;
        title::set(&format!("tmpl:{owner}"), &format!("offshoot: template of {owner}"));
    }

    fn handle(&mut self, datagram: Received) {
        let bytes = &self.buffer[..datagram.len];
        let id = wire::id_of(bytes);
        if datagram.fds_lost {
            let lost = Failure::new(Stage::Fork, libc::EMFILE, "receiving descriptors");
            return self.reply(id, &Reply::Failed(lost));
        }
        if datagram.truncated {
            return self.reply(id, &Reply::Failed(Failure::new(Stage::Protocol, 0, "too long")));
        }
        match Request::parse(bytes, datagram.fds) {
            Ok(request) => self.execute(request, wire::asker(datagram.sender)),
            Err(wire::Malformed(why)) => {
                self.reply(id, &Reply::Failed(Failure::new(Stage::Protocol, 0, why)));
            }
        }
    }

    fn execute(&mut self, request: Request, asker: Sender) {
        match request {
            Request::Fork(fork) => match self.fork(fork.id) {
                Ok(Forked::Child) => launch::go_on(self, fork, asker),
                Ok(Forked::Parent(_)) => {}
                Err(failure) => self.reply(fork.id, &Reply::Failed(failure)),
            },
            Request::Signal { id, signal, process } => {
                let errno = match self.pid_of(process) {
                    Some(pid) => errno_of(signal::send(pid, signal)),
                    None => libc::ESRCH,
                };
                self.reply(id, &Reply::Done(errno));
            }
            Request::Pid { id, process } => {
                let reply = self.pid_of(process).map_or(Reply::Done(libc::ESRCH), Reply::PidIs);
                self.reply(id, &reply);
            }
            Request::Pidfd { id, process } => {
                let no_such = || io::Error::from_raw_os_error(libc::ESRCH);
                match self.pid_of(process).ok_or_else(no_such).and_then(pidfd::open) {
                    Ok(fd) => self.reply_with_fd(id, fd),
                    Err(e) => self.reply(id, &Reply::Done(errno_of(Err(e)))),
                }
            }
            Request::Privileged { id, names } => {
                let allowed = self.ids.serves(asker);
                if allowed {
                    self.privileged.extend(names);
                }
                self.reply(id, &Reply::Done(if allowed { 0 } else { libc::EPERM }));
            }
            Request::Retire => self.retired = true,
        }
    }

    /// The one fork.
    fn fork(&mut self, id: u64) -> Result<Forked, Failure> {
        let threads = fork::threads();
        if threads != 1 {
            let why = format!(
                "this template has {threads} threads and cannot be forked: a setup function, or a library's constructor, has started some"
            );
            return Err(Failure::new(Stage::Threads, 0, why));
        }
        fork::flush_stdio();
        let forked = fork::fork().map_err(|e| Failure::io(Stage::Fork, "fork", &e))?;
        match forked {
            Forked::Parent(pid) => {
                self.children.insert(pid, id);
            }
            Forked::Child => {
                self.children.clear();
                self.outbox.clear();
                self.retired = false;
            }
        }
        Ok(forked)
    }

    fn pid_of(&self, process: u64) -> Option<i32> {
        self.children.iter().find(|(_, id)| **id == process).map(|(pid, _)| *pid)
    }

    fn reap(&mut self) {
        while !self.children.is_empty() {
            let Some(ended) = wait::reap_any() else { return };
            // What a setup function left running and never waited for has no id.
            if let Some(id) = self.children.remove(&ended.pid) {
                self.reply(id, &Reply::Exited(ended));
            }
        }
    }

    pub(crate) fn reply(&mut self, id: u64, reply: &Reply) {
        self.outbox.push_back(reply.encode(id));
        self.deliver();
    }

    /// Sends what the socket takes. The order of replies is kept.
    fn deliver(&mut self) {
        while let Some(datagram) = self.outbox.front() {
            match fdpass::send(self.control(), &[IoSlice::new(datagram)], &[], false) {
                // The parent is gone; `receive` will say so.
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => self.outbox.clear(),
                Err(_) => return,
                Ok(()) => {
                    self.outbox.pop_front();
                }
            }
        }
    }

    /// Descriptors are not kept waiting: where there is no room, the answer is no.
    fn reply_with_fd(&mut self, id: u64, fd: OwnedFd) {
        let fds = [fd.as_fd()];
        let reply = Reply::PidfdIs(fd.try_clone().unwrap_or_else(|_| exit_now(1)));
        let datagram = reply.encode(id);
        let sent = if self.outbox.is_empty() {
            fdpass::send(self.control(), &[IoSlice::new(&datagram)], &fds, false)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        };
        if sent.is_err() {
            self.reply(id, &Reply::Done(libc::EAGAIN));
        }
    }
}

fn errno_of(result: io::Result<()>) -> i32 {
    result.err().map_or(0, |e| e.raw_os_error().unwrap_or(libc::EIO))
}
