//! What a new process does first: in the child, right after the template's fork.
//!
//! Everything that can fail here is told over the template's socket, of which the
//! child has a copy until its end is reached; then it exits, and the template
//! reports that too.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use crate::entry;
use crate::start::Start;
use crate::sys::fdpass::{self, Sender};
use crate::sys::fork::exit_now;
use crate::sys::ids::{self, Ids};
use crate::sys::{collapse, fds, settings, signal, title};
use crate::template::Template;
use crate::wire::{self, Bytes, End, Failure, Next, Parts, Reply, Stage, Step, Steps};
use steps::c_string;
use tell::tell;

mod steps;
mod tell;
mod tie;

/// Goes on as the process that `fork` describes. Returns if that is to serve: then
/// `template` has become it.
#[inline]
pub(crate) fn go_on(
    template: &mut Template,
    fork: wire::Fork,
    foreseen: Option<Foreseen>,
    asker: Sender,
) {
    let parent = template.pid;
    if fork.how.detached {
        template.death_signal = 0;
    }
    if template.tie_to(parent).is_err() {
        exit_now(127);
    }
    let id = fork.id;
    let mut launch = Launch { template, parent, id, title: None, fds: VecDeque::new() };
    if let Err(failure) = launch.proceed(fork, foreseen, asker) {
        tell(launch.template.control(), id, &Reply::Failed(failure));
        exit_now(1);
    }
}

/// The entry to run, found before the fork: where that is all that a process is to do, it
/// touches neither the registry and its names nor the reader of steps. These lie on pages
/// that the template has in its page table, and a new process has not.
pub(crate) struct Foreseen {
    /// Where it is in the datagram.
    name: Range<usize>,
    entry: fn(Start) -> u8,
}

impl Foreseen {
    #[inline]
    pub(crate) fn find(fork: &wire::Fork, datagram: &[u8]) -> Option<Foreseen> {
        let name = fork.only_run(datagram)?;
        let entry = entry::look_up_runnable(&datagram[name.clone()])?;
        Some(Foreseen { name, entry })
    }
}

struct Launch<'a> {
    template: &'a mut Template,
    parent: i32,
    id: u64,
    title: Option<String>,
    fds: VecDeque<OwnedFd>,
}

impl Launch<'_> {
    fn proceed(
        &mut self,
        fork: wire::Fork,
        foreseen: Option<Foreseen>,
        asker: Sender,
    ) -> Result<(), Failure> {
        let (datagram, mut fds) = self.template.take_datagram();
        if let Some(foreseen) = foreseen
            && self.template.ids.serves(asker)
            && fds.len() == 1
            && let Some(stream) = fds.pop()
        {
            return self.run(foreseen.entry, &datagram[foreseen.name], stream, fork.how.tell_ready);
        }
        let Parts { socket, mut steps, mut fds, parcel } = fork.take_apart(datagram, fds)?;
        self.take_on(&mut steps, asker)?;
        if let Some((parcel, count)) = parcel {
            wire::unpack(parcel, count, &mut fds)?;
        }
        self.fds = fds;
        let end = loop {
            match steps.next().map_err(malformed)? {
                Next::Step(step) => self.apply(step)?,
                Next::End(end) => break end,
            }
        };
        if !self.fds.is_empty() {
            return Err(malformed(wire::Malformed("descriptors left over")));
        }
        match end {
            End::Serve => self.serve(socket, fork.how.tell_ready),
            End::Run(name) => {
                let entry =
                    entry::find_runnable(&name).map_err(|e| Failure::new(Stage::Entry, 0, e))?;
                self.run(entry, &name, socket, fork.how.tell_ready)
            }
            End::Exec(args) => self.exec(&args, socket, fork.how.tell_ready),
        }
    }

    /// Never more privileged than the asker, before anything else happens.
    fn take_on(&mut self, steps: &mut Steps, asker: Sender) -> Result<(), Failure> {
        if self.template.ids.serves(asker) || self.is_privileged(steps)? {
            return Ok(());
        }
        ids::become_asker(asker).map_err(|e| {
            let what = format!(
                "a process for user {} and group {} cannot be made by this template",
                asker.uid, asker.gid
            );
            Failure::io(Stage::Denied, what, &e)
        })?;
        self.template.ids = Ids::own();
        self.template.privileged.clear();
        self.renew_death_signal()
    }

    /// Whether this is the run of an entry that was named by `privileged`.
    fn is_privileged(&self, steps: &mut Steps) -> Result<bool, Failure> {
        if self.template.privileged.is_empty() {
            return Ok(false);
        }
        let all = steps.peek().map_err(malformed)?;
        let Some(Next::End(End::Run(name))) = all.last() else { return Ok(false) };
        if !self.template.privileged.iter().any(|p| p.as_bytes() == &**name) {
            return Ok(false);
        }
        let plain = |n: &Next| matches!(n, Next::Step(Step::Arg(_) | Step::Fd));
        if all[..all.len() - 1].iter().all(plain) {
            return Ok(true);
        }
        let name = String::from_utf8_lossy(name);
        let why = format!(
            "`{name}` runs privileged: it can be sent strings and descriptors, but no setup and no configuration step"
        );
        Err(Failure::new(Stage::Denied, 0, why))
    }

    fn ready(&self, wanted: bool) {
        if wanted {
            tell(self.template.control(), self.id, &Reply::Ready);
        }
    }

    fn serve(&mut self, control: OwnedFd, tell_ready: bool) -> Result<(), Failure> {
        // On a stream its end could not be told from an empty message.
        fdpass::control_peer(&control)
            .and_then(|_| fdpass::want_credentials(&control))
            .map_err(|e| Failure::io(Stage::Protocol, "the control socket", &e))?;
        if self.template.user_code {
            if self.template.huge_pages {
                collapse::collapse();
            }
            signal::begin_serving();
        }
        match self.title.take() {
            Some(title) => title::set(&[title.as_bytes()], &[title.as_bytes()]),
            None => self.template.show_title(),
        }
        self.ready(tell_ready);
        self.template.pid = std::process::id() as i32;
        self.template.be_seen();
        self.template.go_on_with(control);
        Ok(())
    }

    #[inline]
    fn run(
        &mut self,
        run: fn(Start) -> u8,
        name: &[u8],
        stream: OwnedFd,
        tell_ready: bool,
    ) -> Result<(), Failure> {
        let short = name.iter().rposition(|b| *b == b':').map_or(name, |at| &name[at + 1..]);
        match self.title.take() {
            Some(title) => title::set(&[title.as_bytes()], &[title.as_bytes()]),
            None => {
                let [begin, of_owner] = self.template.title_parts();
                title::set(&[short], &[begin, name, of_owner]);
            }
        }
        self.ready(tell_ready);
        let queued = std::mem::take(&mut self.template.queued);
        let start = Start::new(stream, queued);
        // The entry never returns here, so nothing else would close these.
        self.template.stop_serving();
        signal::begin_entry(self.template.user_code);
        entry::run(run, start)
    }

    fn exec(&mut self, args: &[Bytes<'_>], stream: OwnedFd, ready: bool) -> Result<(), Failure> {
        let queued = std::mem::take(&mut self.template.queued);
        let program = String::from_utf8_lossy(&args[0]).into_owned();
        let failed = |e: io::Error| Failure::io(Stage::Exec, &program, &e);
        let queued_args = queued.args.into_iter().map(Bytes::Owned);
        let args = args.iter().cloned().chain(queued_args).map(c_string);
        let args = args.collect::<io::Result<Vec<_>>>();
        let args = args.map_err(failed)?;
        self.template.itself = None;
        let mut stream = stream;
        let mut aside: Vec<&mut OwnedFd> = self.template.control.iter_mut().collect();
        aside.push(&mut stream);
        fds::place_for_exec(queued.fds, &mut aside).map_err(failed)?;
        self.ready(ready);
        signal::begin_program();
        Err(failed(settings::exec(&args)))
    }
}

fn malformed(why: wire::Malformed) -> Failure {
    if why == wire::NO_MEMORY {
        return Failure::new(Stage::Fork, libc::ENOMEM, "taking in what was sent to the process");
    }
    Failure::new(Stage::Protocol, 0, why.0)
}
