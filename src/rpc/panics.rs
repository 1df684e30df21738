//! A panic in a worker: its message and place, to be told to the parent.

use std::any::Any;
use std::cell::RefCell;

use super::frame::Failed;
use super::logs;

/// Exit status of a process that panicked, as of a program.
pub(super) const STATUS: u8 = 101;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on the place of each panic is noted, besides being printed as ever,
/// and goes to the parent's log if that is wanted.
pub(super) fn note() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string);
        // Also of a panic while thread-locals are being destroyed.
        let _ = LAST.try_with(|last| last.replace(place));
        print(info);
        logs::worker::panicked(info);
    }));
}

/// What a caught panic of this thread was about.
pub(super) fn taken(payload: &(dyn Any + Send)) -> Failed {
    let message = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no text)".to_owned());
    let location = LAST.try_with(RefCell::take).ok().flatten();
    let location = location.unwrap_or_else(|| "(unknown place)".to_owned());
    Failed::Panic { message, location }
}
