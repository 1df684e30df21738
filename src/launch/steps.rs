//! The steps of a new process: what is done in it, one after the other, before it runs
//! or serves.

use std::ffi::{CString, OsStr};
use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use super::{Launch, malformed};
use crate::start::Args;
use crate::sys::fork::flush_stdio;
use crate::sys::ids::{self, Ids};
use crate::sys::{fds, settings, signal};
use crate::template::Template;
use crate::wire::{self, Bytes, Failure, Stage, Step};
use crate::{entry, start};

impl Launch<'_> {
    fn fd(&mut self) -> Result<OwnedFd, Failure> {
        self.fds.pop_front().ok_or(malformed(wire::Malformed("a descriptor is missing")))
    }

    pub(super) fn apply(&mut self, step: Step<'_>) -> Result<(), Failure> {
        match step {
            Step::Arg(bytes) => self.template.queued.args.push(bytes.into_owned()),
            Step::Fd => {
                let fd = self.fd()?;
                self.template.queued.fds.push(fd);
            }
            Step::Setup { name, args } => {
                return self.setup(&name, args.into_iter().map(Bytes::into_owned).collect());
            }
            Step::Stdio(n) => {
                let fd = self.fd()?;
                config(format_args!("standard stream {n}"), fds::onto_stdio(fd, i32::from(n)))?;
                self.template.streams.set(n);
            }
            Step::Env { key, value } => {
                let set =
                    c_string(key).and_then(|k| settings::set_env(&k, Some(&*c_string(value)?)));
                config("environment variable", set)?;
            }
            Step::EnvRemove(key) => {
                let set = c_string(key).and_then(|k| settings::set_env(&k, None));
                config("environment variable", set)?;
            }
            Step::EnvClear => config("environment", settings::clear_env())?,
            Step::Directory(path) => {
                let shown = String::from_utf8_lossy(&path).into_owned();
                let set = c_string(path).and_then(|p| settings::set_directory(&p));
                config(format_args!("working directory {shown}"), set)?;
            }
            Step::DirectoryFd => {
                let fd = self.fd()?;
                config("working directory", settings::set_directory_fd(fd))?;
            }
            Step::Limit { resource, soft, hard } => {
                let what = format_args!("limit {resource} to {soft}, hard {hard}");
                config(what, settings::set_limit(resource, soft, hard))?;
            }
            Step::Umask(mask) => settings::set_umask(mask),
            Step::Nice(n) => config(format_args!("niceness {n}"), settings::set_nice(n))?,
            Step::Group(n) => config(format_args!("process group {n}"), settings::set_group(n))?,
            Step::Gid(gid) => {
                config(format_args!("group id {gid}"), ids::set_gid(gid))?;
                self.ids_changed()?;
            }
            Step::Uid(uid) => {
                let set = match self.template.ids.effective_uid() {
                    0 => ids::drop_groups().and_then(|()| ids::set_uid(uid)),
                    _ => ids::set_uid(uid),
                };
                config(format_args!("user id {uid}"), set)?;
                self.ids_changed()?;
            }
            Step::DeathSignal(n) => {
                self.template.death_signal = n;
                self.renew_death_signal()?;
            }
            Step::Title(text) => self.title = Some(text.into_owned()),
            Step::HugePages(on) => self.template.huge_pages = on,
            Step::Cpus(set) => config("CPU affinity", settings::set_affinity(&set))?,
            Step::Cgroup(path) => {
                let shown = String::from_utf8_lossy(&path).into_owned();
                let moved = settings::enter_cgroup(OsStr::from_bytes(&path).as_ref());
                config(format_args!("control group {shown}"), moved)?;
            }
        }
        Ok(())
    }

    fn ids_changed(&mut self) -> Result<(), Failure> {
        self.template.ids = Ids::own();
        self.renew_death_signal()
    }

    /// The kernel forgets the signal when ids change (prctl(2)).
    pub(super) fn renew_death_signal(&self) -> Result<(), Failure> {
        config(
            format_args!("parent death signal {}", self.template.death_signal),
            self.template.tie_to(self.parent),
        )
    }

    fn setup(&mut self, name: &str, args: Vec<Vec<u8>>) -> Result<(), Failure> {
        let setup =
            entry::find_setup(name.as_bytes()).map_err(|e| Failure::new(Stage::Entry, 0, e))?;
        self.template.user_code = true;
        signal::begin_setup();
        let Template { queued, streams, .. } = &mut *self.template;
        let done = streams
            .changed_by(|| start::lending(queued, || entry::run_setup(setup, Args::new(args))));
        flush_stdio();
        // It may have become somebody else.
        self.ids_changed()?;
        done.map_err(|message| Failure::new(Stage::Setup, 0, format_args!("{name}: {message}")))
    }
}

pub(super) fn c_string(bytes: Bytes<'_>) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn config(what: impl Display, done: io::Result<()>) -> Result<(), Failure> {
    done.map_err(|e| Failure::io(Stage::Config, what, &e))
}
