//! The serving loop: what a process does while it waits to be forked.
//!
//! It forks in one place. The child goes on in the same loop if it is to serve,
//! and never comes back if it is to run (`launch.rs`). No user code runs in here,
//! and nothing in here waits for the parent: replies that do not fit the socket
//! stay in `outbox`.
//!
//! After each fork the first write to a page copies it, here or in the child, for 2 us;
//! so the road of a request allocates nothing here, and keeps to few pages. In the child
//! each 64 KiB of code that are entered cost 1 us besides: what is short there is inlined.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use crate::launch::{self, Foreseen};
use crate::start::Queued;
use crate::sys::fdpass::{self, Received, Sender};
use crate::sys::fork::{self, Forked, exit_now};
use crate::sys::ids::Ids;
use crate::sys::signal::{self, Ends};
use crate::sys::{image, pidfd, title, wait};
use crate::wire::{self, Encoded, Failure, MAX_DATAGRAM, Reply, Request, Stage};
use streams::Streams;

pub(crate) mod outbox;
mod streams;

pub(crate) struct Template {
    /// There until an entry takes the process over.
    pub(crate) control: Option<OwnedFd>,
    /// Of this process, once it serves.
    pub(crate) pid: i32,
    /// A descriptor of this process, where its forks cannot see it by its number; in these,
    /// until they serve or run, of the one that they were forked from (`launch/tie.rs`).
    pub(crate) itself: Option<OwnedFd>,
    pub(crate) ids: Ids,
    /// Sent to this process; cloned into each fork.
    pub(crate) queued: Queued,
    /// Entries that may run with our own privileges whoever asks (rule 12).
    pub(crate) privileged: Vec<String>,
    /// What a process gets when the one that it was forked from dies; 0 for nothing.
    pub(crate) death_signal: i32,
    /// A setup function has run in this process, or in one that it was forked from.
    pub(crate) user_code: bool,
    pub(crate) huge_pages: bool,
    pub(crate) streams: Streams,
    /// What titles are made of: how they begin, and ` of ` the program that all of this belongs
    /// to. Strings here, since a constant lies on a page that a new process does not have yet.
    title: [String; 2],
    /// Pids, in their order, and what the parent calls them. (No HashMap: its keys,
    /// once made, would be the same in all forks.)
    children: Vec<(i32, u64)>,
    outbox: VecDeque<Encoded>,
    /// When the outbox is to be tried again, in milliseconds; 0: when there is room.
    again_in: u16,
    retired: bool,
    ends: Option<Ends>,
    // Allocated after `children` and in this order: what is written to of the three, for
    // most requests, is on one page then, or on two.
    fds: Vec<OwnedFd>,
    buffer: Box<[u8]>,
}

/// Children, and descriptors with one request, for which there is room without an
/// allocation.
const ROOM: usize = 16;

const OF: &str = " of ";

impl Template {
    /// `owner` is the program that all of this belongs to, as titles show it.
    pub(crate) fn new(control: OwnedFd, owner: &str) -> Template {
        Template {
            streams: Streams::of_maker(&control),
            control: Some(control),
            pid: std::process::id() as i32,
            itself: None,
            ids: Ids::own(),
            queued: Queued::default(),
            privileged: Vec::new(),
            death_signal: libc::SIGKILL,
            user_code: false,
            huge_pages: std::env::var_os("OFFSHOOT_HUGE_PAGES").is_none_or(|v| v != "0")
                || image::secure(),
            title: ["offshoot: ".to_owned(), format!("{OF}{owner}")],
            children: Vec::with_capacity(ROOM),
            outbox: VecDeque::new(),
            again_in: 0,
            retired: false,
            ends: None,
            fds: Vec::with_capacity(ROOM),
            buffer: new_buffer(),
        }
    }

    /// Serves until the parent is gone, or has retired this template and its last
    /// child has ended.
    pub(crate) fn serve(mut self) -> ! {
        fork::flush_stdio();
        title::prepare();
        self.show_title();
        signal::begin_serving();
        self.ends = Some(Ends::new().unwrap_or_else(|_| exit_now(1)));
        loop {
            self.deliver();
            if self.retired && self.children.is_empty() && self.outbox.is_empty() {
                exit_now(0);
            }
            let ends = self.ends.as_ref().expect("only a process that runs is without");
            let (room, again_in) = self.undelivered();
            let owner = self.streams.owner();
            let woken = ends.pause(self.control(), owner, room, again_in);
            if woken.ended {
                self.reap();
            }
            if woken.orphaned && !woken.readable {
                // Not at the end of the socket, so there is a daemon. One that is detached
                // may be somebody else's by now.
                match self.death_signal {
                    0 => self.streams.forget_owner(),
                    _ => self.streams.let_go(),
                }
            }
            if woken.readable {
                match self.receive() {
                    Ok(Some(datagram)) => {
                        self.handle(&datagram);
                        // What was attached was for a child, or is refused.
                        self.fds.clear();
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(None) => exit_now(0),
                    Err(_) => exit_now(1),
                }
            }
        }
    }

    fn receive(&mut self) -> io::Result<Option<Received>> {
        let control = self.control.as_ref().expect("as in `control`");
        fdpass::receive(control, &mut self.buffer, &mut self.fds, false)
    }

    /// What the last datagram was, for the process that it makes.
    pub(crate) fn take_datagram(&mut self) -> (Box<[u8]>, Vec<OwnedFd>) {
        (std::mem::take(&mut self.buffer), std::mem::take(&mut self.fds))
    }

    /// Becomes a process of its own, with a new parent's socket.
    pub(crate) fn go_on_with(&mut self, control: OwnedFd) {
        self.control = Some(control);
        self.buffer = new_buffer();
        self.fds.reserve(ROOM);
    }

    /// Lets go of what only a process that serves needs.
    #[inline]
    pub(crate) fn stop_serving(&mut self) {
        self.control = None;
        self.itself = None;
        self.ends = None;
        self.streams.forget_owner();
    }

    pub(crate) fn control(&self) -> &OwnedFd {
        self.control.as_ref().expect("only an entry that has taken over is without")
    }

    pub(crate) fn show_title(&self) {
        let [begin, of_owner] = self.title_parts();
        title::set(&[b"tmpl:", &of_owner[OF.len()..]], &[begin, b"template", of_owner]);
    }

    /// What comes before and after the name of what this process is.
    #[inline]
    pub(crate) fn title_parts(&self) -> [&[u8]; 2] {
        self.title.each_ref().map(|part| part.as_bytes())
    }

    fn handle(&mut self, datagram: &Received) {
        let bytes = &self.buffer[..datagram.len];
        let id = wire::id_of(bytes);
        if datagram.fds_lost {
            let most = crate::sys::fds::open_limit();
            let what = format!("receiving descriptors, at a limit of {most} open files");
            let lost = Failure::new(Stage::Fork, libc::EMFILE, what);
            return self.reply(id, &Reply::Failed(lost));
        }
        if datagram.truncated {
            return self.reply(id, &Reply::Failed(Failure::new(Stage::Protocol, 0, "too long")));
        }
        match Request::parse(bytes, self.fds.len()) {
            Ok(request) => self.execute(request, wire::asker(datagram.sender)),
            Err(wire::Malformed(why)) => {
                self.reply(id, &Reply::Failed(Failure::new(Stage::Protocol, 0, why)));
            }
        }
    }

    fn execute(&mut self, request: Request, asker: Sender) {
        match request {
            Request::Fork(fork) => {
                let foreseen = Foreseen::find(&fork, &self.buffer);
                match self.fork(fork.id) {
                    Ok(Forked::Child) => launch::go_on(self, fork, foreseen, asker),
                    Ok(Forked::Parent(_)) => {}
                    Err(failure) => self.reply(fork.id, &Reply::Failed(failure)),
                }
            }
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
            Request::Streams => {
                let trusted = self.ids.serves(asker);
                self.streams.take_over(self.fds.drain(..), asker, trusted);
            }
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
        // Nothing is left in stdout's buffers: they were flushed when this process began
        // to serve, and no code that prints has run in it since.
        let forked = fork::fork().map_err(|e| Failure::io(Stage::Fork, "fork", &e))?;
        match forked {
            Forked::Parent(pid) => {
                let at = self.children.partition_point(|(other, _)| *other < pid);
                self.children.insert(at, (pid, id));
            }
            Forked::Child => {
                self.children.clear();
                if !self.outbox.is_empty() {
                    self.outbox.clear();
                    self.again_in = 0;
                }
                self.retired = false;
            }
        }
        Ok(forked)
    }

    fn pid_of(&self, process: u64) -> Option<i32> {
        self.children.iter().find(|(_, id)| *id == process).map(|(pid, _)| *pid)
    }

    fn reap(&mut self) {
        while !self.children.is_empty() {
            let Some(ended) = wait::reap_any() else { return };
            // What a setup function left running and never waited for has no id.
            if let Ok(at) = self.children.binary_search_by_key(&ended.pid, |(pid, _)| *pid) {
                let (_, id) = self.children.remove(at);
                self.reply(id, &Reply::Exited(ended));
            }
        }
    }
}

fn errno_of(result: io::Result<()>) -> i32 {
    result.err().map_or(0, |e| e.raw_os_error().unwrap_or(libc::EIO))
}

fn new_buffer() -> Box<[u8]> {
    vec![0; MAX_DATAGRAM].into_boxed_slice()
}
