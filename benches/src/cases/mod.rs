//! All cases, a list for each group.

use crate::case::Case;

mod calls;
mod create;
mod exec;
#[cfg(feature = "peers")]
mod peers;
mod pools;
mod preload;
mod raw;
mod start;

/// In the order in which they are measured and printed.
pub(crate) fn all() -> Vec<Case> {
    let ours = [
        create::cases(),
        preload::cases(),
        exec::cases(),
        start::cases(),
        calls::cases(),
        pools::cases(),
    ];
    let all = ours.into_iter().flatten();
    #[cfg(feature = "peers")]
    let all = all.chain(peers::cases());
    all.collect()
}
