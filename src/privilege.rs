//! Keeping privileges for named entries when the program gives up its own.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use crate::error::{Error, Kind};
use crate::home;
use crate::queue::Queue;
use crate::wire;

/// Entries that were named by this process.
static NAMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn named() -> MutexGuard<'static, BTreeSet<String>> {
    NAMED.lock().unwrap_or_else(|e| e.into_inner())
}

/// Names the entries that may still run with the privileges that the program has
/// now, after it has given them up.
///
/// A process is never more privileged than the program is when it asks for it: once
/// a program that was started as root has become another user, its processes are of
/// that user and its group too, without supplementary groups. The entries named here
/// are the exception: they go on to run as the program was *started*. Call this
/// before the privileges are dropped. Such a process can be sent strings and
/// descriptors; setup functions, configuration steps and `exec` are refused for it,
/// since they would let the program do anything with the privileges.
///
/// Who asks is told by the kernel (the real user and group of the sender,
/// SCM_CREDENTIALS in unix(7); so the processes of a set-user-ID program are its
/// caller's). What credentials do not show is not taken on: see
/// the chapter on privileges in the crate's documentation.
///
/// # Errors
/// [`is_unknown_name`](Error::is_unknown_name), and
/// [`is_denied`](Error::is_denied) if the privileges are dropped already.
pub fn privileged<I>(entries: I) -> Result<(), Error>
where
    I: IntoIterator,
    I::Item: Into<&'static str>,
{
    let names: Vec<&'static str> = entries.into_iter().map(Into::into).collect();
    for name in &names {
        crate::entry::find_runnable(name.as_bytes())?;
    }
    let link = home::current()?.default_template()?;
    let errno = link.ask(
        "naming privileged entries",
        |socket, id| wire::send_privileged(socket, id, &names),
        |s| s.done,
    )?;
    if errno != 0 {
        let why = "privileged() has to be called before the program drops its privileges";
        return Err(Kind::Denied(why.to_owned()).into());
    }
    named().extend(names.into_iter().map(str::to_owned));
    Ok(())
}

/// Refuses what the template would refuse, before anything is sent. (Only a program
/// that has dropped privileges is refused; the template knows.)
pub(crate) fn check(entry: &[u8], queue: &Queue) -> Result<(), Error> {
    let entry = String::from_utf8_lossy(entry);
    if queue.is_plain() || !named().contains(&*entry) || nix::unistd::getuid().is_root() {
        return Ok(());
    }
    let why = format!(
        "`{entry}` runs privileged: it can be sent strings and descriptors, but no setup and no configuration step"
    );
    Err(Kind::Denied(why).into())
}
