//! Templates that are made by executing the program once more: a variable in the environment,
//! the marker, tells them what they are.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use super::{check_usable, die};
use crate::error::{Error, Kind};
use crate::sys::reexec::{self, Image};
use crate::sys::{fdpass, fds, image, origin, pidfd, settings, title};

/// Names the socket of a re-executed template, and the build that it must be.
pub(super) const MARKER: &str = "OFFSHOOT_TEMPLATE";

/// How long the maker of a marker, if it is not our parent any more, may take to end.
const MAKER_ENDS: Duration = Duration::from_millis(250);

/// The socket that the marker names, if that may be obeyed. One that is wrong ends the
/// process: going on would run `main` a second time.
#[cold]
pub(super) fn marked_socket() -> Option<OwnedFd> {
    let marker = std::env::var_os(MARKER)?;
    let key = CString::new(MARKER).expect("it has no NUL");
    let _ = settings::set_env(&key, None);
    if image::secure() {
        // Whoever started this has fewer privileges than it: not to be obeyed.
        return None;
    }
    match check_marker(&marker.to_string_lossy()) {
        Ok(socket) => Some(socket),
        Err(why) => die(format_args!(
            "{MARKER} is set, but {why}; this variable is only for programs that execute themselves: unset it"
        )),
    }
}

fn check_marker(marker: &str) -> Result<OwnedFd, &'static str> {
    let (fd, build) = marker.split_once(':').ok_or("is not of the form FD:BUILD")?;
    let raw = fd.parse().map_err(|_| "names no descriptor")?;
    if build != format!("{:016x}", image::fingerprint()) {
        return Err("was made by another build of this program");
    }
    let socket = fds::adopt(raw).ok_or("its descriptor is not open")?;
    let peer = fdpass::control_peer(&socket).map_err(|_| "its descriptor is not such a socket")?;
    // A program that becomes a daemon right after making us has ended by now, and is
    // nobody's parent any more.
    if peer.pid != nix::unistd::getppid().as_raw() && !pidfd::gone(peer.pid, MAKER_ENDS) {
        return Err("its socket was not made by our parent");
    }
    if peer.uid != nix::unistd::getuid().as_raw() && peer.uid != nix::unistd::geteuid().as_raw() {
        return Err("its socket was made by another user");
    }
    fds::set_close_on_exec(&socket).map_err(|_| "its descriptor is not open")?;
    Ok(socket)
}

/// Makes a template by executing this program's own file, with `socket` as its
/// control socket and everything else as the program was started with.
pub(crate) fn reexecute(socket: &OwnedFd) -> Result<i32, Error> {
    check_reexecutable()?;
    let origin = origin::get();
    let executable =
        origin::executable().map_err(Error::system("finding the program's own file"))?;
    let strings = title::start_strings();
    let args = strings.args();
    let marker = format!("{MARKER}={}:{:016x}", socket.as_raw_fd(), image::fingerprint());
    let mut environment = strings.environment();
    environment.retain(|v| !v.as_bytes().starts_with(b"OFFSHOOT_TEMPLATE="));
    environment.push(CString::new(marker).expect("it has no NUL"));
    let image = Image {
        executable,
        socket: socket.as_fd(),
        args: &args,
        environment: &environment,
        directory: origin.and_then(|o| o.directory()),
        umask: origin.map(|o| o.umask),
        limits: origin.map_or(&[], |o| &o.limits),
        no_new_privileges: image::has_set_id(executable),
    };
    reexec::spawn(&image).map_err(Error::system("executing the program's own file"))
}

/// An error where the program cannot be made a template by executing it: with
/// privileges that it gets by that it would ignore the marker, and run `main`.
pub(crate) fn check_reexecutable() -> Result<(), Error> {
    check_usable()?;
    let gets_capabilities = || {
        !nix::unistd::getuid().is_root() && origin::executable().is_ok_and(image::has_capabilities)
    };
    if image::secure() || gets_capabilities() {
        return Err(Kind::Unsupported("the program's file gives it privileges (set-user-ID, or capabilities), so it cannot execute itself: processes need an early template here, by #[offshoot::main]").into());
    }
    Ok(())
}
