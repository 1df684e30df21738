//! All cases, a list for each group.

use crate::case::Case;

mod create;
mod exec;
mod preload;
mod start;

/// In the order in which they are measured and printed.
pub(crate) fn all() -> Vec<Case> {
    [create::cases(), preload::cases(), exec::cases(), start::cases()]
        .into_iter()
        .flatten()
        .collect()
}
